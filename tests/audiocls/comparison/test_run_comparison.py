"""Runs whose answers are known are compared, by their folders."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import accuracy_score, f1_score

from audiocls.comparison import compare_runs
from audiocls.comparison.run_facts import differing_params
from audiocls.errors import DataError, ParamsError
from audiocls.metrics import GroupCounts, f1_macro, interval, jackknife

LABELS = ("a", "b", "c")
GROUPS, PER_GROUP = 12, 20


def answers(seed: int, right: float, groups: int = GROUPS) -> pd.DataFrame:
    """Clips of one label each, and answers of which a fraction is right; the labels are the same for every seed."""
    count = groups * PER_GROUP
    targets = np.random.default_rng(0).integers(0, 3, count)
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(count) < right, targets, (targets + rng.integers(1, 3, count)) % 3)
    probabilities = np.full((count, 3), 0.1)
    probabilities[np.arange(count), predicted] = 0.8
    table = pd.DataFrame(
        {
            "clip_id": [f"{number}.wav" for number in range(count)],
            "source": None,
            "path": [f"/nowhere/{number}.wav" for number in range(count)],
            "start_seconds": np.nan,
            "end_seconds": np.nan,
            "group": [f"speaker {number % groups}" for number in range(count)],
            "split": "test",
            "label": np.array(LABELS)[targets],
            "content_sha256": [f"{number:064x}" for number in range(count)],
            "predicted": np.array(LABELS)[predicted],
            "correct": predicted == targets,
            "windows": 1,
            "probability": 0.8,
        }
    )
    return table.join(pd.DataFrame(probabilities, columns=[f"probability/{label}" for label in LABELS]))


@pytest.fixture
def compare(tmp_path):
    """A function that writes tables of answers as runs and compares them; returns the result and its JSON."""

    def compared(*tables, out="out"):
        folders = []
        for number, table in enumerate(tables):
            folder = tmp_path / f"run-{number}"
            (folder / "evaluation").mkdir(parents=True, exist_ok=True)
            table.to_parquet(folder / "evaluation" / "predictions.parquet")
            folders.append(str(folder))
        found = compare_runs(folders, tmp_path, f"sqlite:///{tmp_path}/none.db", tmp_path / out)
        return found, json.loads((tmp_path / out / "comparison.json").read_text())

    return compared


def metric(said, name):
    (found,) = [each for each in said["metrics"] if each["metric"] == name]
    return found


def test_scores_are_those_of_scikit_learn_and_differences_those_of_the_paired_jackknife(compare):
    first, other = answers(1, 0.7), answers(2, 0.8)
    _, said = compare(first, other)
    scores = [f1_score(table["label"], table["predicted"], average="macro") for table in (first, other)]
    found = metric(said, "f1_macro")
    assert [each["value"] for each in found["runs"]] == pytest.approx(scores)
    index = {label: i for i, label in enumerate(LABELS)}
    targets = first["label"].map(index).to_numpy()
    one, two = (
        jackknife(
            GroupCounts.of(targets, table["predicted"].map(index).to_numpy()[None], first["group"].to_numpy(str), 3),
            f1_macro,
        )
        for table in (first, other)
    )
    paired = interval(two.minus(one))
    (difference,) = found["differences"]
    assert difference["value"] == pytest.approx(scores[1] - scores[0])
    assert (difference["low"], difference["high"]) == pytest.approx((float(paired.low), float(paired.high)))


def test_of_three_runs_each_is_judged_against_the_first(compare):
    found, said = compare(answers(1, 0.6), answers(2, 0.95), answers(3, 0.2))
    assert [each["verdict"] for each in found.differences] == ["better", "worse"]
    loss = metric(said, "loss")
    assert loss["differences"][0]["value"] < 0  # lower, and better
    assert [each["verdict"] for each in loss["differences"]] == ["better", "worse"]
    assert found.summary.startswith("**B against A: better. F1, macro +0.")


def test_with_few_groups_the_difference_has_neither_an_interval_nor_a_verdict(compare):
    found, said = compare(answers(1, 0.2, groups=4), answers(2, 0.9, groups=4))
    (difference,) = found.differences
    assert difference["value"] > 0.3
    assert (difference["low"], difference["high"], difference["verdict"]) == (None, None, "too few groups")
    assert "too few groups for intervals, which need at least 5" in found.summary
    assert {one["verdict"] for each in said["classes"] for one in each["metrics"][0]["differences"]} == {
        "too few groups"
    }


def test_a_class_in_few_groups_has_no_verdict_of_its_own(compare):
    first, other = answers(1, 0.3), answers(2, 0.9)
    rare = first["label"].eq("c") & ~first["group"].isin(["speaker 1", "speaker 2", "speaker 3"])
    _, said = compare(first[~rare], other[~rare])
    assert {each["label"]: each["metrics"][0]["differences"][0]["verdict"] for each in said["classes"]} == {
        "a": "better",
        "b": "better",
        "c": "too few groups",
    }


def test_only_the_same_clips_with_the_same_label_are_compared_and_the_rest_is_counted(compare):
    first, other = answers(1, 0.7), answers(2, 0.7)
    other = other.iloc[10:].reset_index(drop=True)
    other.loc[:4, "label"] = other.loc[:4, "label"].map({"a": "b", "b": "c", "c": "a"})
    other.loc[5:7, "content_sha256"] = "f" * 64
    other.loc[8:9, "group"] = "somebody"
    found, said = compare(first, other)
    assert found.clips == len(first) - 10 - 5 - 3
    assert said["clips"] == {"common": found.clips, "groups": GROUPS, "relabelled": 5, "replaced": 3}
    assert [run["only"] for run in said["runs"]] == [10, 0]
    assert said["differences"] == [
        "The test clips differ: 230 clips in common; run-0 has 10 others, run-1 has 0 others.",
        "3 clips of the same name are other recordings in another run, and left out.",
        "5 clips have different labels in the runs, and are left out.",
        "2 clips have another group in another run; the groups of the first run are used.",
    ]
    common = first.iloc[18:]
    score = accuracy_score(common["label"], common["predicted"])
    assert metric(said, "accuracy")["runs"][0]["value"] == pytest.approx(score)


def test_a_class_that_only_one_model_knows_is_wrong_for_the_other_and_said(compare):
    first, other = answers(1, 0.9), answers(2, 0.9)
    other = other.drop(columns="probability/c")
    other["predicted"] = other["predicted"].replace("c", "a")
    _, said = compare(first, other)
    assert said["differences"] == ["run-1 does not know c, which other runs know."]
    assert "loss" not in [each["metric"] for each in said["metrics"]]
    (row,) = [each for each in said["classes"] if each["label"] == "c"]
    assert row["metrics"][0]["runs"][1]["value"] == 0


def test_flipped_clips_are_those_that_are_right_in_one_run_only(compare, tmp_path):
    first, other = answers(1, 0.8), answers(2, 0.8)
    found, said = compare(first, other)
    flipped = pd.read_csv(tmp_path / "out" / "flipped.csv")
    broken = set(first["clip_id"][first["correct"] & ~other["correct"]])
    fixed = set(first["clip_id"][~first["correct"] & other["correct"]])
    changed = set(first["clip_id"][~first["correct"] & ~other["correct"] & (first["predicted"] != other["predicted"])])
    for kind, clips in (("broken", broken), ("fixed", fixed), ("changed", changed)):
        assert set(flipped.loc[flipped["kind"] == kind, "clip_id"]) == clips
        assert found.flips[0][kind] == said["flips"][0][kind] == len(clips)
    cells = {(cell["true"], cell["predicted"]): cell["difference"] for cell in said["confusion"][0]["cells"]}
    before, now = (pd.crosstab(table["label"], table["predicted"]) for table in (first, other))
    expected = (now - before).stack()
    assert cells == {key: value for key, value in expected.items() if value}


def test_the_page_plays_a_clip_that_is_here_and_escapes_what_is_in_the_data(compare, tmp_path):
    first, other = answers(1, 1.0), answers(2, 1.0)
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, 48_000)
    soundfile.write(tmp_path / "long.wav", sound, 16_000)
    evil = "<script>alert(1)</script>"
    for table in (first, other):
        table["clip_id"] = table["clip_id"].replace("0.wav", evil)
        table.loc[:0, ["path", "start_seconds", "end_seconds"]] = [str(tmp_path / "long.wav"), 1.0, 2.5]
    other.loc[:1, "predicted"] = other.loc[:1, "label"].map({"a": "b", "b": "c", "c": "a"})
    compare(first, other)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<audio controls") == page.count("data:audio/mpeg;base64,") == 1  # the other file is not here
    assert "no file here" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_runs_of_any_number_of_labels_are_compared_by_their_ranking_and_their_labels(compare):
    rng = np.random.default_rng(3)
    true = rng.random((GROUPS * PER_GROUP, 3)) < 0.4
    tables = []
    for noise in (1.5, 0.2):
        scores = 1 / (1 + np.exp(-(4 * true - 2 + rng.normal(0, 2 * noise, true.shape))))
        table = answers(1, 1.0).drop(columns=["probability/a", "probability/b", "probability/c"])
        table["labels"] = [[LABELS[i] for i in np.flatnonzero(row)] for row in true]
        table["unknown"] = [[] for _ in true]
        table["label"] = [" + ".join(labels) or "(none)" for labels in table["labels"]]
        table["predicted"] = [[LABELS[i] for i in np.flatnonzero(row >= 0.5)] for row in scores]
        tables.append(table.join(pd.DataFrame(scores, columns=[f"probability/{label}" for label in LABELS])))
    found, said = compare(*tables)
    assert found.metric == "map_macro"
    assert found.differences[0]["verdict"] == "better"
    assert [each["metric"] for each in said["classes"][0]["metrics"]] == [
        "average_precision",
        "f1",
        "precision",
        "recall",
    ]
    exact = [(table["predicted"].map(list) == table["labels"].map(list)).mean() for table in tables]
    assert [each["value"] for each in metric(said, "exact_match")["runs"]] == pytest.approx(exact)
    unscored = tables[1].assign(**{f"probability/{label}": true[:, i].astype(float) for i, label in enumerate(LABELS)})
    found, said = compare(tables[0], unscored, out="unscored")
    assert [each["metric"] for each in said["metrics"]] == ["f1_macro", "f1_micro", "exact_match"]
    assert [each["metric"] for each in said["classes"][0]["metrics"]] == ["f1", "precision", "recall"]
    with pytest.raises(DataError, match="They share no metric"):
        compare(tables[0], answers(1, 0.5), out="mixed")


def test_without_a_clip_in_common_or_a_second_run_the_message_says_what_to_do(compare, tmp_path):
    other = answers(2, 0.8)
    other["clip_id"] = "x" + other["clip_id"]
    with pytest.raises(DataError, match=r"no test clip in common.*audiocls evaluate MODEL PARAMS"):
        compare(answers(1, 0.8), other)
    run = str(tmp_path / "run-0")
    with pytest.raises(ParamsError, match="name two or more runs"):
        compare_runs([run], tmp_path, "sqlite:////none.db")
    with pytest.raises(ParamsError, match="name the same run"):
        compare_runs([run, run], tmp_path, "sqlite:////none.db")
    with pytest.raises(ParamsError, match=r"no such folder and no such run in sqlite:////none\.db"):
        compare_runs([run, "nowhere"], tmp_path, "sqlite:////none.db")


def test_params_differ_only_where_both_are_known():
    one = {"training.epochs": "3", "data.path": "a", "seed": "1", "workspace": "w"}
    other = {"data.path": "b", "seed": "1", "workspace": "v"}  # of an evaluation: nothing is known of the training
    assert differing_params([one, other]) == {"data.path": ["a", "b"]}
    assert differing_params([one, one | {"training.epochs": "5", "training.resume": "x"}]) == {
        "training.epochs": ["3", "5"],
        "training.resume": [None, "x"],
    }
