from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.comparison.report import judge, write_report
from audiocls.comparison.scores import METRICS, thirds_of
from audiocls.errors import counted
from audiocls.params.balance import NoBalance
from audiocls.params.run import RunParams
from audiocls.params_file.candidates import Candidate, list_candidates, params_to_train
from audiocls.params_file.reading import load_params


def params(**sections):
    return RunParams.model_validate({"data": {"source": "sample"}} | sections)


def scores(**methods):
    """Macro-F1 on validation, its gain on test and half the width of that interval, by method."""
    rows = []
    for name, (validation, gain, half) in methods.items():
        for split, level in (("validation", validation), ("test", 0.5 + gain)):
            row = {"method": name.replace("_with_", ", "), "split": split}
            for metric in METRICS:
                row |= {metric: level, f"{metric}_low": level - half, f"{metric}_high": level + half}
                row |= {f"{metric}_gain": gain, f"{metric}_gain_low": gain - half, f"{metric}_gain_high": gain + half}
            rows.append(row)
    return pd.DataFrame(rows)


def test_validation_chooses_and_test_reports():
    """The one that is best on test is not taken: who looks for the best there finds one by chance."""
    table = scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.1, 0.05), b=(0.6, 0.2, 0.05))
    method, verdict = judge(table, 40, 5, 5)
    assert method == "a"
    assert verdict.startswith("Take a: macro-F1 on test +0.100 [+0.050, +0.150] over none; the rarest third of the")
    assert "the most frequent third +0.100" in verdict


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.1, 0.2)), "a, the best of 1 method on validation, changes macro-F1"),
        (scores(none=(0.7, 0.0, 0.0), a=(0.6, 0.2, 0.1)), "no method of 1 beats none on validation"),
        (scores(none=(0.7, 0.0, 0.0), a=(0.7, 0.2, 0.1)), "no method of 1 beats none on validation"),
    ],
    ids=["what may be chance", "worse on validation", "as good on validation"],
)
def test_where_balancing_does_not_help_it_says_so_and_none_is_taken(table, said):
    method, verdict = judge(table, 40, 5, 5)
    assert method == "none"
    assert verdict.startswith(f"Balancing did not help here: {said}")
    assert verdict.endswith("so take none.")


@pytest.mark.parametrize(
    ("a", "said"),
    [
        ((0.7, 0.1, 0.2), "by +0.100 [-0.100, +0.300], which may be chance, so take none."),
        ((0.7, -0.3, 0.2), "by -0.300 [-0.500, -0.100], a loss, so take none."),
        ((0.7, 0.0, 0.0), "by +0.000 [+0.000, +0.000], so take none."),
    ],
    ids=["chance", "loss", "no change"],
)
def test_what_does_not_help_is_a_loss_or_may_be_chance(a, said):
    _, verdict = judge(scores(none=(0.5, 0.0, 0.0), a=a), 40, 5, 5)
    assert verdict.endswith(said)


def test_what_test_alone_would_have_chosen_is_told_and_not_taken():
    table = scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.0, 0.1), b=(0.6, 0.3, 0.1), c=(0.6, 0.2, 0.1))
    method, verdict = judge(table, 40, 5, 5)
    assert method == "none"
    assert "2 others, b the most, beat none on test, so compare again with more validation clips." in verdict


@pytest.mark.parametrize("groups", [1, 4])
def test_too_few_groups_of_test_tell_nothing(groups):
    """With one group all draws are alike, and their interval has no width."""
    method, verdict = judge(scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.1, 0.0)), groups, 5, 5)
    assert method == "none"
    assert verdict.startswith(f"Whether balancing helps is unknown here: test has {counted(groups, 'group')}")


def test_two_seeds_that_differ_tell_nothing_and_three_are_asked_for():
    method, verdict = judge(scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.1, np.nan)), 40, 2, 2)
    assert method == "none"
    assert verdict.startswith("Whether balancing helps is unknown here: two seeds that differ")
    assert "compare with 3 seeds or more" in verdict


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "they hold for other groups and these models; other seeds may differ"),
        (2, "where all seeds give the same scores; elsewhere two seeds that differ"),
        (3, "they hold for other groups and other seeds"),
    ],
)
def test_the_report_says_what_its_intervals_hold_for(seeds, said, tmp_path):
    clips = pd.DataFrame({"split": ["train", "validation", "test"], "label": "c", "group": list("ghi")})
    report = write_report(
        scores(none=(0.5, 0.0, 0.0)), clips, {"none": Candidate("none", NoBalance())}, {},
        params(workspace=str(tmp_path), comparison={"seeds": seeds}), tmp_path,
    )  # fmt: skip
    assert said in report.summary


@pytest.mark.parametrize(
    ("seeds", "trainings", "told"),
    [
        (5, 1, "; all on one training of the encoder, another may differ."),
        (1, None, "; all on one seed, another may differ."),
        (5, 5, "]."),
        (5, None, "]."),
    ],
)
def test_one_training_or_one_seed_is_told(seeds, trainings, told):
    _, verdict = judge(scores(none=(0.5, 0.0, 0.0), a=(0.7, 0.1, 0.05)), 40, seeds, trainings)
    assert verdict.endswith(told)


def test_the_rarest_third_that_is_named_is_the_one_that_is_scored(tmp_path):
    """Classes of as many clips are taken in the order of their names, whatever their order in the table."""
    counts = {"c": 2, "a": 2, "b": 2, "d": 9, "e": 9, "f": 9}
    labels = [label for label, count in counts.items() for _ in range(count)]
    clips = pd.DataFrame({"split": "train", "label": labels, "group": "g"})
    held_out = pd.DataFrame({"split": ["validation", "test"], "label": "c", "group": ["h", "i"]})
    report = write_report(
        scores(none=(0.5, 0.0, 0.0)), pd.concat([clips, held_out]), {"none": Candidate("none", NoBalance())}, {},
        params(workspace=str(tmp_path)), tmp_path,
    )  # fmt: skip
    assert [int(i) for i in thirds_of(np.array([2, 2, 2, 9, 9, 9]))[0]] == [0, 1]
    assert "The rarest third: a, b, of 2 training clips" in report.summary
    assert "In only one or two groups of test, so the intervals are unreliable: c." in report.summary


def test_the_report_hides_passwords_shows_the_price_and_says_what_was_not_compared(tmp_path):
    asked = params(tracking={"uri": "http://ann:s3cret@127.0.0.1:5000"}, workspace=str(tmp_path))
    candidates = {each.name: each for each in list_candidates(asked)}
    table = scores(none=(0.5, 0.0, 0.0), decoupled_with_smote=(0.7, 0.1, 0.05))
    splits = ["train"] * 3 + ["validation"] + ["test"] * 5
    clips = pd.DataFrame({"split": splits, "label": ["<b>", *"x" * 8], "group": list("abcdefghi")})
    report = write_report(table, clips, candidates, {"decoupled, adasyn": "too few"}, asked, tmp_path)
    assert load_params(report.params_file) == params_to_train(asked, candidates["decoupled, smote"])
    logged = "".join(path.read_text() for path in report.folder.glob("*.*a*m*"))
    assert "decoupled" in logged
    assert "s3cret" not in logged + report.summary
    assert "<b>" not in report.summary
    assert "Not compared: decoupled, adasyn. too few" in report.summary
    assert "rarest third, F1 | over none | most frequent third, F1 | over none" in report.summary
    assert report.metrics["test/f1_macro_gain_low"] == pytest.approx(0.05)
    assert np.isfinite(list(report.metrics.values())).all()
