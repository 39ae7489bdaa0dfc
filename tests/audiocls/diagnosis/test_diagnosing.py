"""One whole run: trained with far too low a learning rate, diagnosed, mended by the first override, and compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from audiocls.balance import balance
from audiocls.diagnosis.diagnosing import diagnose, diagnose_again
from audiocls.diagnosis.gathering import MOST_CLIPS, read_evidence
from audiocls.errors import DataError
from audiocls.evaluation import evaluate
from audiocls.params import RunParams
from audiocls.params_file import override_params
from audiocls.sources import list_clips
from audiocls.splits import PreparedData, assign_splits
from audiocls.training import fit
from audiocls.waveforms import collect_corpus
from flows.cli import main


def train(params, run, fill_store):
    manifest = list_clips(params.data, params.workspace)
    plan = fill_store(manifest, params.workspace, params.audio)
    corpus = collect_corpus(manifest, plan, params.workspace)
    data = PreparedData(assign_splits(corpus.clips, params.split, params.seed, params.workspace), corpus.store, params)
    balanced = balance(data.split_clips, params.balance, params.seed, params.workspace)
    model = fit(data, balanced, run, lambda metrics, step: None)
    evaluate(model.folder, data, run / "evaluation")
    return diagnose(model.folder, data, run)


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory, fill_store):
    """(folder of a run with a fault, its diagnosis, folder of the mended run, its diagnosis)."""
    workspace = tmp_path_factory.mktemp("diagnosed")
    params = RunParams.model_validate(
        {
            "experiment": "tones",
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.3},
            "split": {"validation_fraction": 0.3, "test_fraction": 0.2},
            "model": {"config": {"channels": [8, 16]}},
            "evaluation": {"robustness_clips": 0, "segment_minutes": 0},
            "training": {"epochs": 8, "batch_size": 4, "learning_rate": 1.0e-6},
        }
    )
    faulty, mended = workspace / "runs" / "faulty", workspace / "runs" / "mended"
    before = train(params, faulty, fill_store)
    changed = override_params(params, [*before.findings[0].overrides[:1], "training.learning_rate=0.01"])
    return faulty, before, mended, train(changed, mended, fill_store)


def test_a_learning_rate_that_is_far_too_low_is_named_first(runs):
    found = runs[1].findings[0]
    assert (found.kind, found.cause) == ("underfitting", "rate_too_low")
    assert found.overrides[0].startswith("training.learning_rate=")


def test_training_clips_are_scored_as_validation_is(runs):
    evidence = read_evidence(runs[2])
    training = pd.read_parquet(runs[2] / "diagnosis" / "clips.parquet").query("split == 'train'")
    assert 0 < len(training) <= MOST_CLIPS
    assert evidence.training.right.mean() > 0.9
    assert np.allclose(evidence.training.probabilities.sum(axis=1), 1, atol=1e-5)
    assert evidence.counts.sum() == len(training)
    assert not set(evidence.training.clips["clip_id"]) & set(evidence.validation.clips["clip_id"])


def test_the_mended_run_says_what_is_gone_and_why(runs):
    faulty, _, _, after = runs
    gone = next(change for change in after.changes if change.startswith("underfitting: gone since run faulty ("))
    assert "training.learning_rate was 1e-06 and is now 0.01" in gone
    assert "validation macro-F1 +" in gone
    assert not any(each.kind == "underfitting" for each in after.findings)
    assert faulty.name == "faulty"


def test_a_run_is_diagnosed_again_from_its_folder_alone(runs, tmp_path, capsys):
    faulty, before, mended, after = runs
    assert diagnose_again(faulty) == before
    assert diagnose_again(mended) == after
    copy = shutil.copytree(faulty, tmp_path / "runs" / "copied", ignore=shutil.ignore_patterns("model", "checkpoints"))
    assert main(["diagnose", str(copy)]) == 0
    by_folder = json.loads(capsys.readouterr().out)
    assert main(["diagnose", "copied", "--workspace", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert (
        json.loads(shown.out)["findings"]
        == by_folder["findings"]
        == json.loads(json.dumps(before.described()))["findings"]
    )
    assert before.findings[0].overrides[0] in shown.err.replace("\n", "")


def test_a_run_that_was_not_measured_or_does_not_exist_is_a_mistake_that_says_what_to_name(tmp_path, capsys):
    (tmp_path / "evaluation").mkdir()
    with pytest.raises(DataError, match=r"has no diagnosis/measured\.json"):
        read_evidence(tmp_path)
    assert main(["diagnose", "nowhere", "--workspace", str(tmp_path)]) == 2
    assert "nowhere: it is neither the folder of a finished run" in capsys.readouterr().err
