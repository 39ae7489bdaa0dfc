"""Runs that prepare the same corpus at the same time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from prepared_at_once import prepare_at_once

from audiocls.params.run import RunParams

PROCESSES = 3


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory):
    """(workspace, answers) of one process alone, and of several at once."""

    def prepare(name: str, processes: int) -> tuple[Path, list[tuple[str, ...]]]:
        workspace = tmp_path_factory.mktemp(name)
        data = {"source": "folder", "path": str(tones), "group_by": "folder"}
        params = RunParams.model_validate({"workspace": str(workspace), "data": data})
        return workspace, prepare_at_once(params, processes)

    return prepare("alone", 1), prepare("at_once", PROCESSES)


def test_all_of_them_name_the_same_manifest_corpus_pairs_and_splits_as_one_alone(prepared):
    (alone, (answer,)), (at_once, answers) = prepared
    assert len(answers) == PROCESSES
    assert set(answers) == {tuple(text.replace(str(alone), str(at_once)) for text in answer)}


def test_what_they_leave_is_what_one_leaves(prepared):
    (alone, _), (at_once, answers) = prepared
    for path in map(Path, answers[0][1:]):
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(alone / path.relative_to(at_once)))
    assert list(at_once.rglob("*.part")) == []
