from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from tiny_configs import TINY_CONFIGS

from audiocls.evaluation.headline import result_line
from audiocls.evaluation.model_card import write_card
from audiocls.evaluation.scoring import Evaluation
from audiocls.models.families import build_extractor
from audiocls.models.inference_settings import settings_of, write_settings
from audiocls.params.run import RunParams
from audiocls.training.trained_model import TrainedModel

LABELS = ["a|b", "<i>c</i>", "d"]


def split(*clips: int) -> dict:
    return {"clips": sum(clips), "files": sum(clips), "groups": 6, "classes": dict(zip(LABELS, clips, strict=True))}


@pytest.fixture
def card(tmp_path):
    """A function that writes the card of a model whose test clips come in some groups, and returns its text."""

    def write(groups: int, family: str = "logmel-resnet", **audio) -> str:
        params = RunParams.model_validate(
            {
                "experiment": "letters",
                "data": {"source": "folder", "path": "recordings"},
                "audio": {"max_seconds": 0.4} | audio,
                "model": {"family": family, "config": TINY_CONFIGS[family]},
            }
        )
        model = TrainedModel(tmp_path / "model", 1_234, 1_234, 30, 3.0, 20, "cpu", "fp32")
        settings = settings_of(params, LABELS, build_extractor(params.model, params.audio), "0123abcd")
        model.folder.mkdir()
        write_settings(settings, model.folder)
        facts = {"listed": split(31, 12, 4), "usable": split(30, 12, 4), "quarantined": {"silent": 1}}
        facts |= {"lost_classes": [], "splits": {"train": split(20, 8, 4), "test": split(10, 4, 0)}}
        (tmp_path / "counts.json").write_text(json.dumps(facts))
        rows = [
            (label, label if i % 4 else LABELS[0])
            for label, n in zip(LABELS, (10, 4, 0), strict=True)
            for i in range(n)
        ]
        predictions = pd.DataFrame(rows, columns=["label", "predicted"])
        predictions["group"] = [f"speaker {i % groups}" for i in range(len(rows))]
        predictions.assign(split="test").to_parquet(tmp_path / "predictions.parquet")
        report = pd.DataFrame({"label": LABELS, "clips": [10, 4, 0], "f1": [0.95, 0.8571, None]})
        report.to_csv(tmp_path / "classification_report.csv", index=False)
        names = ("accuracy", "balanced_accuracy", "f1_macro")
        metrics = {f"{part}/{name}": 0.75 for part in ("validation", "test") for name in names}
        findings = [
            {"title": "The file format alone predicts the class", "spoils_score": True},
            {"title": "A class is rare", "spoils_score": False},
        ]
        audit = tmp_path / "audit.json"
        audit.write_text(json.dumps({"verdict": "The test score may be too optimistic.", "findings": findings}))
        evaluation = Evaluation(metrics, tmp_path)
        text = write_card(model, evaluation, tmp_path / "counts.json", audit).read_text()
        return text + result_line(model.folder, evaluation, audit)

    return write


def test_the_card_has_data_metrics_with_intervals_and_limits(card):
    text = card(groups=7)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "audio-classification"
    for line in (
        "# letters: 3 classes of audio",
        "`0123abcd`",
        "| train | 32 | 6 | 3 |",
        "| test | 14 | 6 | 2 |",
        "Left out, by reason: 1 silent.",
        "| &#60;i&#62;c&#60;/i&#62; | 8 | 4 | 0.8571 |",
        "- Classes with fewer than 10 training clips: &#60;i&#62;c&#60;/i&#62;, d.",
        "- Classes without test clips, which were not measured: d.",
        "nothing above 8000 Hz",
    ):
        assert line in body
    assert "<i>" not in body
    # The audit's doubts stand beside the score, in the card and in the first line of a run's description.
    doubts = "Audit of the data: The test score may be too optimistic. The file format alone predicts the class."
    assert body.count(doubts) == 2
    assert body.splitlines()[-1].startswith("**Test macro-F1 ")
    assert "A class is rare" not in body
    (accuracy,) = (line for line in body.splitlines() if line.startswith("| Accuracy"))
    low, high = (float(end) for end in accuracy.split("|")[4].split(" to "))
    assert 0 < low < 13 / 14 <= high < 1


def test_few_groups_have_no_interval(card):
    assert card(groups=2).count("| too few groups |") == 3


@pytest.mark.parametrize(
    ("family", "audio", "said"),
    [
        ("logmel-resnet", {}, "Give it shorter clips as they are."),
        ("hubert", {}, "Fill shorter clips with zeros to that length"),
        ("logmel-resnet", {"pad": "repeat"}, "Fill shorter clips to that length by repeating them"),
    ],
)
def test_the_card_says_how_the_pipeline_takes_short_clips(family, audio, said, card):
    assert said in card(7, family, **audio)
