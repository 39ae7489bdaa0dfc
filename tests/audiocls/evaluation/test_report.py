from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from audiocls.balance.selection import Balanced
from audiocls.evaluation.report import summarise
from audiocls.evaluation.scoring import Evaluation
from audiocls.sources.listing import Listing
from audiocls.splits.dropped import COLUMNS, write_dropped
from audiocls.tracking import TrackedRun
from audiocls.training.trained_model import TrainedModel
from audiocls.waveforms.corpus import Corpus
from audiocls.waveforms.counts import count_stages, write_counts

LABELS = ["<script>alert(1)</script>", "a|b", "07"]


def counts_of(lost):
    columns = ("clip_id", "path", "label", "group", "split", "source", "reason")
    rows = [("x.wav", "x.wav", "x", "x.wav", None, None, None)]
    rows += [(f"{label}.wav", "", label, f"{label}.wav", None, None, "truncated") for label in lost]
    return count_stages(pd.DataFrame(rows, columns=columns), Listing())


@pytest.fixture
def summary(tmp_path):
    def make(uri: str = "sqlite:///somewhere/mlflow.db", labels=LABELS, lost=(), **counts: float) -> str:
        pd.DataFrame({"clip_id": ["x.wav"], "reason": ["empty"]}).to_parquet(tmp_path / "quarantine.parquet")
        write_counts(counts_of(lost), tmp_path / "counts.json")
        out = pd.DataFrame({name: ["y.wav"] for name in COLUMNS}).assign(split="train", reason="copy_across_splits")
        write_dropped(out, tmp_path / "splits.parquet")
        rows = [(label, 0.5, 0.5, 0.25 * i, 4) for i, label in enumerate(labels)]
        report = pd.DataFrame(
            [*rows[:-1], (*rows[-1][:1], None, None, None, 0)], columns=["label", "precision", "recall", "f1", "clips"]
        )
        report.to_csv(tmp_path / "classification_report.csv", index=False)
        names = ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted")
        metrics = {f"{split}/{name}": 0.123456 for split in ("validation", "test") for name in names}
        metrics |= {f"{split}/clips_scored_by_windows": counts.get(split, 0.0) for split in ("validation", "test")}
        return summarise(
            TrackedRun(uri, "1", "abc", tmp_path),
            Corpus(tmp_path / "clips.parquet", tmp_path / "quarantine.parquet", tmp_path, "digest", 99, 1),
            tmp_path / "splits.parquet",
            Balanced(tmp_path / "rows.parquet", None, dict.fromkeys(labels, 10), dict.fromkeys(labels, 20)),
            TrainedModel(Path("runs/abc/model"), 1_234_567, 1_234, 40, 4.0, 30, "cpu", "fp32"),
            Evaluation(metrics, tmp_path),
        )

    return make


def test_it_says_what_was_trained_on_what_and_how_good_it_is(summary):
    text = summary()
    for expected in (
        "99 clips",
        "3 classes",
        "1 clip is in quarantine (1 empty)",
        "1 clip was left out of the split (1 copy_across_splits; 1 of train)",
        "1,234,567 parameters",
        "0.1235",
        "runs/abc/model",
    ):
        assert expected in text


def test_a_lost_class_is_named_with_what_became_of_its_clips(summary):
    assert "no usable clip" not in summary()
    text = summary(lost=["c<b>"])
    assert "**1 of 2 classes has no usable clip: " in text
    assert "(1 clip: 1 truncated); the model cannot predict it.**" in text
    assert "c<b>" not in text


def test_it_says_how_many_clips_were_scored_by_windows(summary):
    assert "3 clips of validation and 12 of test are longer than the model's input" in summary(
        validation=3.0, test=12.0
    )
    assert "windows" not in summary()


def shown_classes(markdown):
    """What the first cells of the table of classes say; None where one holds more than plain text."""
    table = markdown[markdown.index("| class |") :]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(table)
    cells = [inline.children for token, inline in pairwise(tokens) if token.type == "td_open"]
    return [
        "".join(part.content for part in cell) if {part.type for part in cell} <= {"text", "text_special"} else None
        for cell in cells[::5]
    ]


def test_labels_cannot_break_out_of_the_table(summary):
    odd = [
        "a\\|b",
        "[x](https://x.invalid)",
        "*b*",
        "_i_",
        "__init__",
        "dog_bark",
        "`c`",
        "~~s~~",
        "&lt;",
        "é",
        "two\nlines",
    ]
    text = summary(labels=[*LABELS, *odd])
    assert "<script>" not in text
    assert shown_classes(text) == [*LABELS, *odd[:-1], "two lines"]


def test_of_many_classes_the_worst_are_shown_and_the_others_counted(summary):
    labels = [f"class-{i}" for i in range(45)]
    text = summary(labels=labels)
    assert shown_classes(text) == labels[:30]
    assert "15 more classes are in `" in text
    assert "more classes" not in summary(labels=labels[:30])


def test_a_class_without_test_clips_has_no_score(summary):
    assert "| 07 | 10 | 20 | 0 |  |" in summary()


def test_the_run_is_linked_on_a_server_and_explained_on_a_file(summary):
    on_server = summary("http://127.0.0.1:5000")
    runs = "http://127.0.0.1:5000/#/experiments/1/runs"
    assert f"[abc]({runs}/abc?workflowType=machine_learning)" in on_server
    assert f"({runs}?workflowType=machine_learning&viewStateShareKey=audiocls)" in on_server
    assert "mlflow server --backend-store-uri sqlite:///somewhere/mlflow.db" in summary()


@pytest.mark.parametrize("applied", [True, False])
def test_validation_scores_of_a_fitted_decision_come_with_those_of_held_out_folds(applied, summary, tmp_path):
    said = {"applied": applied, "held_out_f1_macro_plain": 0.71234, "held_out_f1_macro_changed": 0.75678}
    (tmp_path / "balance").mkdir()
    (tmp_path / "balance" / "head.json").write_text(json.dumps(said))
    text = summary()
    expected = "On held-out folds, macro-F1 is 0.7568; without this change, 0.7123."
    assert (expected in text) == applied
    assert ("fitted on the validation clips" in text) == applied


def test_without_a_fitted_decision_there_are_no_held_out_folds(summary):
    assert "held-out" not in summary()


def test_slices_and_corruptions_that_fail_are_named(summary, tmp_path):
    assert "chance explains" not in summary()
    slices = pd.DataFrame({"column": ["column/a|b", "source"], "value": ["<b>", "x"], "verdict": ["fail", "pass"]})
    slices.to_csv(tmp_path / "slices.csv", index=False)
    corruptions = pd.DataFrame(
        {"corruption": ["shift", "low_rate_codec"], "loss": [0.0, 0.25], "verdict": ["", "fail"]}
    )
    corruptions.to_csv(tmp_path / "robustness.csv", index=False)
    page = MarkdownIt("commonmark").render(summary())
    assert "Parts of test that score lower than chance explains: column/a|b = &lt;b&gt;." in page
    assert "Corruptions that lower the score more than chance explains: low_rate_codec (loss 0.250)." in page
