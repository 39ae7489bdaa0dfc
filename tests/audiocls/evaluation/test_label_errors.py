"""Labels that were changed are found, and what cannot be judged is left out or said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.evaluation import label_errors
from audiocls.evaluation.confusable import confusable_pairs
from audiocls.evaluation.label_errors import MISSING, judge_held_out, rank, write_label_errors
from audiocls.evaluation.out_of_fold import out_of_fold
from audiocls.metrics.intervals import GroupCounts, accuracy, interval, jackknife
from audiocls.params.run import RunParams
from audiocls.splits.prepared_data import PreparedData

LABELS = ["a", "b", "c"]


def clips_of(labels, groups) -> pd.DataFrame:
    names = [f"{i}.wav" for i in range(len(labels))]
    return pd.DataFrame(
        {"clip_id": names, "path": names, "group": groups, "split": "train", "label": labels, "audio_hash": names}
    )


def test_heads_without_the_clip_find_most_changed_labels():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    features = (np.eye(3)[true] * 6 + rng.normal(size=(600, 3))).astype(np.float32)
    changed = np.isin(np.arange(600), rng.choice(600, 30, replace=False))
    given = np.where(changed, (true + 1) % 3, true)
    clips = clips_of(np.array(LABELS)[given], np.repeat(np.arange(60), 10).astype(str))
    rows, probabilities = out_of_fold(clips, features, LABELS, seed=0)
    assert rows.tolist() == list(range(600))
    columns = pd.DataFrame(probabilities, columns=[f"probability/{name}" for name in LABELS])
    found = rank(judge_held_out(clips.join(columns), LABELS))
    listed = found["clip_id"].str.removesuffix(".wav").astype(int).to_numpy()
    assert changed[listed].mean() > 0.95
    assert np.isin(np.flatnonzero(changed), listed).mean() > 0.95
    assert (found["suggested"].to_numpy() == np.array(LABELS)[true[listed]])[changed[listed]].all()


def test_a_class_of_a_single_group_is_not_judged():
    labels = ["a", "b"] * 20 + ["c"] * 5
    groups = [str(i // 2) for i in range(40)] + ["alone"] * 5
    rng = np.random.default_rng(1)
    rows, probabilities = out_of_fold(clips_of(labels, groups), rng.normal(size=(45, 4)).astype("f4"), LABELS, seed=0)
    assert rows.tolist() == list(range(40))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(40))


def test_of_several_labels_each_known_one_is_judged_by_itself():
    rng = np.random.default_rng(2)
    present = rng.random((200, 2)) < 0.4
    probabilities = np.where(present, 0.95, 0.05) + rng.uniform(-0.04, 0.04, present.shape)
    given = present.copy()
    given[3, 0] = ~given[3, 0]
    unknown = [["a"] if i == 5 else [] for i in range(200)]
    probabilities[5, 0] = 0.99
    given[5, 0] = False
    sets = [[name for name, there in zip("ab", row, strict=True) if there] for row in given]
    clips = clips_of(["x"] * 200, [str(i) for i in range(200)])
    clips = clips.assign(labels=pd.Series(sets, dtype=object), unknown=pd.Series(unknown, dtype=object))
    found = judge_held_out(
        clips.join(pd.DataFrame(probabilities, columns=["probability/a", "probability/b"])), ["a", "b"]
    )
    assert found.loc[found["wrong"], "clip_id"].tolist() == ["3.wav"]
    right = " + ".join(name for name, there in zip("ab", present[3], strict=True) if there) or "(none)"
    assert found.loc[3, "suggested"] == right


def test_without_cleanlab_it_says_what_to_install_and_writes_no_list(tmp_path, monkeypatch):
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    (tmp_path / "label_errors.csv").write_text("of an earlier evaluation")
    params = RunParams.model_validate({"data": {"source": "sample"}})
    found = write_label_errors(pd.DataFrame(), LABELS, PreparedData(tmp_path, tmp_path, params), tmp_path)
    assert found == MISSING
    assert not (tmp_path / "label_errors.csv").exists()


def test_pairs_are_counted_in_both_directions_and_need_five_groups_for_an_interval():
    targets = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    predicted = np.array([1, 0, 1, 0, 1, 1, 2, 2, 0, 2])
    groups = np.array([0, 1, 2, 3, 4, 5, 0, 0, 1, 1])
    table = confusable_pairs(targets, predicted, groups, LABELS).set_index(["label_a", "label_b"])
    assert table.loc[("a", "b"), ["clips", "errors", "a_as_b", "b_as_a"]].tolist() == [6, 3, 2, 1]
    errors = np.array([1, 0, 1, 1, 0, 0])
    counts = GroupCounts.of(np.ones(6, int), errors[None], np.arange(6), 2)
    expected = interval(jackknife(counts, accuracy), fraction=True)
    assert table.loc[("a", "b"), ["low", "high"]].tolist() == pytest.approx([float(expected.low), float(expected.high)])
    assert table.loc[("a", "c"), "rate"] == pytest.approx(1 / 7)
    assert table.loc[("a", "c"), ["low", "high"]].isna().all()
    assert ("b", "c") not in table.index
