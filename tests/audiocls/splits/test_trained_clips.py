from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from audiocls.errors import DataError
from audiocls.splits.trained_clips import FILE_NAME, of_groups_named_alike, trained_on, write_training_clips


def clip(name: str, group: str, split: str, recording: str | None = None, content: str | None = None) -> dict[str, str]:
    digest = [
        hashlib.sha256(text.encode()).hexdigest() for text in (name, recording or name, content or recording or name)
    ]
    return {
        "clip_id": name, "group": group, "split": split, "audio_hash": digest[0][:32], "recording_hash": digest[1][:32],
        "content_sha256": digest[2],
    }  # fmt: skip


@pytest.fixture
def model(tmp_path):
    """A model's folder; it was trained on two speakers and chosen by a third."""
    rows = [
        clip("a", "one", "train"),
        clip("b", "two", "train", "long"),
        clip("c", "three", "validation"),
        clip("d", "four", "test"),
    ]
    table = tmp_path / "clips.parquet"
    pd.DataFrame(rows).to_parquet(table)
    folder = tmp_path / "model"
    write_training_clips(table, folder)
    return folder


@pytest.mark.parametrize(
    ("later", "known"),
    [
        (clip("a", "x", "test"), True),
        (clip("c", "x", "test"), True),  # the checkpoint was chosen by it
        (clip("e", "x", "test", "long"), True),  # another part of a recording that trained the model
        (clip("e", "x", "test", content="a"), True),  # the same file, decoded otherwise
        (clip("d", "x", "test"), False),
        (clip("e", "one", "test"), False),  # a name says nothing: another corpus may have a speaker of this name
    ],
)
def test_a_clip_is_known_by_its_sound_and_not_by_its_names(model, later, known):
    assert trained_on(pd.DataFrame([later]), model).tolist() == [known]


def test_a_clip_of_the_same_group_as_a_known_one_is_known(model):
    later = pd.DataFrame([clip("a", "x", "test"), clip("new", "x", "test"), clip("other", "y", "test")])
    assert trained_on(later, model).tolist() == [True, True, False]


def test_groups_named_alike_are_told_but_not_taken_for_known(model, tmp_path):
    later = pd.DataFrame([clip("x", "one", "test"), clip("y", "four", "test"), clip("z", "five", "test")])
    assert of_groups_named_alike(later, model).tolist() == [True, False, False]  # of "four", only test clips were there
    assert not of_groups_named_alike(later, tmp_path / "other").any()
    assert not trained_on(later, model).any()
    assert "one" not in (model / FILE_NAME).read_text()


def test_a_model_that_does_not_say_it_and_one_that_says_nonsense_are_told_apart(model, tmp_path):
    clips = pd.DataFrame([clip("a", "x", "test")])
    assert trained_on(clips, tmp_path / "other") is None
    (model / FILE_NAME).write_text('{"hashes": "%"}')
    with pytest.raises(DataError, match="is damaged"):
        trained_on(clips, model)
