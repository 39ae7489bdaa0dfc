"""The report page, as its parser sees it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from made_evaluations import GROUPS, make_evaluation, make_label_sets
from parsed_pages import ParsedPage
from sklearn.metrics import confusion_matrix, f1_score

from audiocls.errors import DataError
from audiocls.evaluation.page.tables import write_learning_curves
from audiocls.evaluation.page.writing import PageContext, write_page

LABELS = ["<b>bold</b>", "one", "three", "two"]
NAME = "clips/<i>&{}</i>.wav"
CLIP = ["clip_id", "path", "group", "split", "label"]


@dataclass(frozen=True)
class Finding:
    kind: str
    sentence: str
    figures: dict[str, float]
    overrides: tuple[str, ...]


def parsed(path) -> ParsedPage:
    return ParsedPage(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory, recorded):
    """(evaluation, data) with no optional table but those of calibration."""
    return make_evaluation(tmp_path_factory.mktemp("bare") / "evaluation", recorded, LABELS, 240, NAME)


@pytest.fixture(scope="module")
def page(bare):
    return parsed(write_page(*bare, PageContext("<u>made</u>", {"run": "abc"})))


@pytest.fixture(scope="module")
def predictions(bare):
    return pd.read_parquet(bare[0].folder / "predictions.parquet")


@pytest.fixture(scope="module")
def full(tmp_path_factory, recorded):
    """The page of an evaluation with every optional table."""
    folder = tmp_path_factory.mktemp("full")
    evaluation, data = make_evaluation(folder / "evaluation", recorded, LABELS, 240, NAME)
    write_optional(evaluation.folder)
    write_checkpoint(folder / "checkpoints")
    write_learning_curves(folder / "checkpoints", evaluation.folder)
    findings = [
        {"severity": "problem", "title": "The pauses predict the class", "text": "Because.", "spoils_score": True},
        {"severity": "note", "title": "A DC offset", "text": "Harmless.", "spoils_score": False},
    ]
    audit = folder / "audit.json"
    audit.write_text(json.dumps({"verdict": "The score says little of new speakers.", "findings": findings}))
    found = [Finding("over_fitting", "Validation gets <worse>.", {"gap": 0.25}, ("training.epochs=3", "seed=4"))]
    return parsed(write_page(evaluation, data, PageContext("full", {}, audit, found)))


def write_optional(folder):
    clips = pd.read_parquet(folder / "predictions.parquet", columns=[*CLIP, "predicted", "correct"])
    pd.DataFrame(
        {
            "column": ["column/device", "rms_db"],
            "value": ["<phone>", "-30 to -20"],
            "clips": [20, 30],
            "groups": [6, 4],
            "f1_macro": [0.4, 0.8],
            "f1_macro_low": [0.2, np.nan],
            "f1_macro_high": [0.6, np.nan],
            "limit": [0.5, np.nan],
            "verdict": ["fail", ""],
        }
    ).to_csv(folder / "slices.csv", index=False)
    corruptions = {"corruption": "noise_0_db", "clips": 99, "groups": 12, "f1_macro": 0.3, "loss": 0.6}
    corruptions |= {"loss_low": 0.5, "loss_high": 0.7, "unchanged": 0.25, "limit": 0.1, "verdict": "fail"}
    pd.DataFrame([corruptions]).to_csv(folder / "robustness.csv", index=False)
    likely = clips[CLIP].iloc[[7, 3]].assign(suggested="one", quality=[0.05, 0.1], rank=[1, 2])
    elsewhere = {"clip_id": "other.wav", "path": "/other.wav", "group": "g", "split": "train", "label": "two"}
    elsewhere |= {"suggested": "one", "quality": 0.2, "rank": 3}
    pd.concat([likely, pd.DataFrame([elsewhere])]).to_csv(folder / "label_errors.csv", index=False)
    error = clips[~clips["correct"]].iloc[0]
    pair = {
        "label_a": error["label"],
        "label_b": error["predicted"],
        "clips": 120,
        "errors": 6,
        "rate": 0.05,
        "low": 0.02,
        "high": 0.11,
    }
    pd.DataFrame([pair]).to_csv(folder / "confusable_pairs.csv", index=False)
    clips[["clip_id"]].assign(x=np.arange(len(clips)), y=1.0).to_parquet(folder / "projection.parquet")


def write_checkpoint(folder):
    history = [
        {"step": 1, "epoch": 0.1, "loss": 2.0, "grad_norm": 1.0},
        {"step": 5, "epoch": 0.5, "eval_loss": 1.5, "eval_f1_macro": 0.25, "eval_runtime": 3.0},
        {"step": 9, "epoch": 0.9, "loss": 0.5},
    ]
    for step in (5, 10):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        state = {"log_history": history if step == 10 else history[:1]}
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))


def test_it_loads_nothing_and_runs_no_script_but_its_own(full):
    for element in full.elements:
        for name in ("src", "href"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (element.tag, value)
        assert not [name for name in element.attributes if name.startswith("on")]
        assert "style" not in element.attributes
    (policy,) = (each.attributes["content"] for each in full.all("meta", **{"http-equiv": "Content-Security-Policy"}))
    assert policy.startswith("default-src 'none';")
    (style,) = full.all("style")
    assert "url(" not in "".join(style.parts)
    (script,) = (each for each in full.all("script") if "type" not in each.attributes)
    for element, rule in ((style, "style-src"), (script, "script-src")):
        digest = base64.b64encode(hashlib.sha256("".join(element.parts).encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy


def test_names_with_html_are_text(page, predictions):
    assert not page.all("b") + page.all("i") + page.all("u")
    assert page.all("h1")[0].text == "<u>made</u>"
    assert {row[0] for row in page.rows("classes")} == set(LABELS)
    items = page.data("browser-data")["items"]
    assert {item["clip"] for item in items} <= set(predictions["clip_id"])
    assert "<" not in "".join(page.all("script", id="browser-data")[0].parts)


def test_the_verdict_is_the_score_in_words(page, bare):
    text = page.section("verdict")
    assert re.search(
        rf"The macro-F1 is {bare[0].metrics['test/f1_macro']:.3f} on 240 test clips of {GROUPS} groups; for other "
        r"groups, the 95 % interval is 0\.\d{3} to 0\.\d{3}\.",
        text,
    )
    accuracy = bare[0].metrics["test/accuracy"]
    assert f"{240 - round(240 * accuracy)} of 240 test clips are wrong. The accuracy is {accuracy:.3f}; " in text
    assert "would give 0.250" in text


def test_what_the_audit_found_stands_beside_the_score(full, page):
    text = full.section("verdict")
    assert "The score says little of new speakers." in text
    assert "problem The pauses predict the class Because." in text
    assert "1 further note." in text
    assert "A DC offset" not in text
    assert "The data were not audited" in page.section("verdict")


def test_findings_come_with_their_figures_and_overrides(full, page):
    text = full.section("findings")
    assert "over fitting Validation gets <worse>. gap 0.25 training.epochs=3 seed=4" in text
    assert not page.all("section", id="findings")


def test_classes_have_the_scores_that_scikit_learn_computes(page, predictions):
    expected = f1_score(predictions["label"], predictions["predicted"], labels=LABELS, average=None)
    rows = {row[0]: row for row in page.rows("classes")}
    for label, f1 in zip(LABELS, expected, strict=True):
        low, high = map(float, rows[label][3].split(" to "))
        assert rows[label][1] == f"{f1:.3f}"
        assert low < f1 < high
        assert rows[label][7] == "60"
    assert [row[1] for row in page.rows("classes")] == sorted(f"{f1:.3f}" for f1 in expected)


def test_the_confusion_matrix_counts_clips(page, predictions):
    counts = confusion_matrix(predictions["label"], predictions["predicted"], labels=LABELS)
    shown = page.rows("confusion")[: len(LABELS)]
    assert [row[0] for row in shown] == LABELS
    assert [[int(cell or 0) for cell in row[1:]] for row in shown] == counts.tolist()
    pairs = page.rows("confusion")[len(LABELS) :]
    both = counts + counts.T
    assert int(pairs[0][2]) == np.triu(both, 1).max()


def test_the_worst_errors_come_first_and_have_picture_and_sound(page, predictions):
    data = page.data("browser-data")
    shown = [data["items"][position] for position, _ in data["lists"]["worst"]["entries"]]
    wrong = predictions[~predictions["correct"]]
    assert len(shown) == len(wrong)
    margins = {row["clip_id"]: row["probability"] - row[f"probability/{row['label']}"] for _, row in wrong.iterrows()}
    assert [item["clip"] for item in shown] == sorted(margins, key=lambda clip: -margins[clip])
    assert shown[0]["true"] != shown[0]["predicted"]
    assert shown[0]["probabilities"][0][0] == shown[0]["predicted"][0]
    assert all(item["sound"].startswith("data:audio/mpeg;base64,") for item in shown)
    assert all(item["picture"].startswith("data:image/webp;base64,") for item in shown)
    assert {item["part"] for item in shown} <= {"0.40 s", "1.00 s", "2.50 s", "0.0 to 4.0 s of 6.0 s"}


def test_likely_label_errors_and_given_pairs_are_lists_of_the_browser(full):
    data = full.data("browser-data")
    entries = data["lists"]["labels"]["entries"]
    clips = [data["items"][position] for position, _ in entries]
    assert [item["clip"] for item in clips] == [NAME.format(7), NAME.format(3), "other.wav"]
    assert entries[0][1].endswith("may be one; label quality 0.05")
    assert (clips[2]["split"], clips[2]["probabilities"], "sound" in clips[2]) == ("train", [], False)
    pairs = [data["items"][position] for position, _ in data["lists"]["pairs"]["entries"]]
    first, second, *rest = full.rows("confusion")[-1]
    assert {frozenset(item["true"] + item["predicted"]) for item in pairs} == {frozenset((first, second))}
    assert rest == ["6", "120", "0.050", "0.020 to 0.110"]


def test_slices_and_corruptions_show_their_verdict(full):
    (device, level), (noise,) = full.rows("slices"), full.rows("robustness")
    assert [device[i] for i in (0, 1, 2, 4, 6)] == ["device", "<phone>", "0.400", "0.200 to 0.600", "fails"]
    assert [level[i] for i in (4, 5, 6)] == ["too few groups", "–", "too few groups"]
    assert [noise[i] for i in (0, 1, 5, 6, 7)] == ["noise 0 db", "0.600", "fails", "0.300", "25 %"]
    assert "lower than chance explains: device = <phone>." in full.section("verdict")


def test_every_plot_has_a_text_alternative_and_learning_curves_come_from_the_newest_checkpoint(full):
    labels = [each.attributes["aria-label"] for each in full.all("svg", role="img")]
    assert [label.split(".")[0] for label in labels] == [
        "ROC curve, each class against the others", "Precision over recall", "Reliability", "Risk over coverage",
        "Loss", "Scores on validation",
    ]  # fmt: skip
    assert labels[4] == "Loss. By optimizer step: training ends at 0.500, validation ends at 1.500."


def test_the_projection_names_the_clips(full, predictions):
    data = full.data("map-data")
    assert sorted(data["labels"]) == LABELS
    assert (len(data["clip"]), data["left_out"]) == (240, 0)
    assert (data["x"][0], data["x"][-1]) == (0, 1000)
    assert len(data["predicted"]) == sum(data["wrong"]) == (~predictions["correct"]).sum()


def test_what_is_missing_is_left_out_with_a_reason(page, full):
    for section, file in (
        ("slices", "slices.csv"),
        ("robustness", "robustness.csv"),
        ("projection", "projection.parq"),
    ):
        assert f"Not shown. There is no {file}" in page.section(section)
        assert "There is no" not in full.section(section)
    assert "There is no label_errors.csv" in page.section("errors")
    assert "There is no learning_curves.csv" in page.section("curves")
    assert not page.all("div", id="map")


def test_tables_have_captions_and_scopes(full):
    for table in full.all("table"):
        inside = [each for each in full.elements if table in each.inside]
        assert [each.tag for each in inside].count("caption") == 1
        assert all(each.attributes.get("scope") in ("row", "col") for each in inside if each.tag == "th")


def test_ten_thousand_clips_of_a_hundred_classes_stay_below_the_limit(recorded, tmp_path):
    labels = [f"class {i:03}" for i in range(100)]
    evaluation, data = make_evaluation(
        tmp_path / "evaluation", recorded, labels, 10_000, "a/very/long/path" * 12 + "/{}"
    )
    clips = pd.read_parquet(evaluation.folder / "predictions.parquet", columns=["clip_id"])
    clips.assign(x=np.arange(10_000.0), y=0.0).to_parquet(evaluation.folder / "projection.parquet")
    path = write_page(evaluation, data, PageContext("large"))
    assert path.stat().st_size < 15_000_000
    page = parsed(path)
    counts = page.data("matrix-data")["counts"]
    assert np.array(counts).sum() == 10_000
    assert len(page.rows("classes")) == 100
    assert len(page.rows("confusion")) == 20  # the pairs; the matrix is a picture
    assert len(page.data("map-data")["clip"]) == 10_000
    assert max(map(len, page.data("map-data")["clip"])) == 120


def test_clips_with_several_labels_have_a_page_without_a_matrix(recorded, tmp_path):
    page = parsed(write_page(*make_label_sets(tmp_path / "evaluation", recorded, 120), PageContext("sets")))
    assert "The mAP is" in page.section("verdict")
    assert {row[0] for row in page.rows("classes")} == {"bird", "cat", "dog"}
    assert "no confusion matrix" in page.section("confusion")
    data = page.data("browser-data")
    assert list(data["lists"]) == ["worst"]
    assert any(len(item["true"]) == 2 for item in data["items"])
    assert all(item["true"] != item["predicted"] for item in data["items"])


def test_a_class_with_clips_of_few_groups_has_no_interval(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "two"], 60)
    file = evaluation.folder / "predictions.parquet"
    table = pd.read_parquet(file)
    table["group"] = [f"g{i % 4}" if label == "one" else f"h{i}" for i, label in enumerate(table["label"])]
    table.to_parquet(file)
    rows = {row[0]: row for row in parsed(write_page(evaluation, data, PageContext("few"))).rows("classes")}
    assert rows["one"][3] == "too few groups"
    assert " to " in rows["two"][3]


def test_a_page_of_one_class_without_errors_says_so(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "two"], 60)
    file = evaluation.folder / "predictions.parquet"
    table = pd.read_parquet(file)
    table[table["correct"] & (table["label"] == "one")].to_parquet(file)
    windows = {"clip_id": ["a"], "start_seconds": [0.0], "probability/one": [1.0]}
    pd.DataFrame(windows).to_parquet(evaluation.folder / "windows.parquet")
    page = parsed(write_page(evaluation, data, PageContext("right")))
    assert "No test clip is wrong." in page.section("errors")
    assert "Not measured, for lack of test clips: 'two'." in page.section("verdict")
    labels = [each.attributes["aria-label"] for each in page.all("svg", role="img")]
    assert [label.split(".")[0] for label in labels] == ["Reliability", "Risk over coverage"]
    assert "ROC and precision over recall are not shown." in page.section("curves")


def test_intervals_that_the_evaluation_computed_are_shown(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "two"], 60)
    ends = {"metric": ["loss", "f1_macro"], "test": [0.4, 0.9], "test_low": [0.111, None], "test_high": [0.222, None]}
    pd.DataFrame(ends).to_csv(evaluation.folder / "metrics.csv", index=False)
    classes = {"label": ["one", "two"], "f1": [0.9, 0.9], "f1_low": [0.333, None], "f1_high": [0.999, None]}
    pd.DataFrame(classes).to_csv(evaluation.folder / "classification_report.csv", index=False)
    evaluation.metrics["test/loss"] = 0.15
    page = parsed(write_page(evaluation, data, PageContext("given")))
    assert {row[0]: row[2] for row in page.rows("scores")}["Log loss"] == "0.111 to 0.222"
    rows = {row[0]: row for row in page.rows("classes")}
    assert rows["one"][3] == "0.333 to 0.999"
    assert rows["two"][3] not in ("0.333 to 0.999", "too few groups")


def test_a_table_without_a_column_is_named(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "two"], 20)
    pd.DataFrame({"clip_id": ["a"], "label": ["one"]}).to_csv(evaluation.folder / "label_errors.csv", index=False)
    with pytest.raises(DataError, match=r"label_errors\.csv: it has no column split, suggested, quality, rank"):
        write_page(evaluation, data, PageContext("broken"))
    assert not (evaluation.folder / "report.html").exists()


def test_an_evaluation_without_test_clips_has_no_page(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "two"], 20)
    file = evaluation.folder / "predictions.parquet"
    pd.read_parquet(file).assign(split="validation").to_parquet(file)
    with pytest.raises(DataError, match=r"predictions\.parquet: it has no test clips"):
        write_page(evaluation, data, PageContext("empty"))
