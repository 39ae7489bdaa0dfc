"""The model card: `README.md` of the model folder, on data, metrics with intervals, and limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml
from transformers import Wav2Vec2FeatureExtractor

from audiocls.errors import counted, name_some
from audiocls.evaluation.score_intervals import score_intervals
from audiocls.evaluation.scoring import Evaluation
from audiocls.files import replacing
from audiocls.markdown import escaped
from audiocls.metrics import DEFAULT_THRESHOLD, Interval, interval, multi_label_jackknife
from audiocls.models import ADAPTERS, InferenceSettings, load_settings
from audiocls.sources import targets_of
from audiocls.training import TrainedModel

CARD: Final = "README.md"

_WITH_INTERVALS: Final = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, macro",
    "matthews": "Matthews' correlation",
}
_WITHOUT_INTERVALS: Final = {
    "auroc_macro": "Area under the ROC curve, macro",
    "loss": "Log loss",
    "calibration_error": "Calibration error",
}
_OF_LABEL_SETS: Final = {
    "map_macro": "Average precision, macro (mAP)",
    "map_micro": "Average precision, micro",
    "auroc_macro": "Area under the ROC curve, macro",
    "lwlrap": "Label-weighted label-ranking average precision",
    "f1_macro": "F1, macro",
    "f1_micro": "F1, micro",
    "exact_match": "All labels right",
}
_FILLING: Final = {
    "nothing": "Give it shorter clips as they are.",
    "zero": "Fill shorter clips with zeros to that length, as in training.",
    "repeat": "Fill shorter clips to that length by repeating them, as in training.",
    "repeat_pad": "Fill shorter clips to that length by whole repeats and zeros, as in training.",
}
_SHOWN_CLASSES: Final = 30
_FEW_CLIPS: Final = 10


def write_card(model: TrainedModel, evaluation: Evaluation, counts: Path) -> Path:
    """Write the model card into the model's folder.

    Args:
        model: With `inference.json` in its folder.
        evaluation: Of this model.
        counts: The run's `counts.json`, with the clips of each split.
    """
    settings = load_settings(model.folder)
    facts = json.loads(counts.read_text(encoding="utf-8"))
    classes = _classes(facts["splits"], evaluation)
    sections = [
        _front_matter(settings),
        _opening(settings, model),
        _use(settings),
        _data(settings, facts),
        _metrics(settings, evaluation),
        _class_table(classes),
        _limits(settings, facts["splits"], classes),
    ]
    target = model.folder / CARD
    with replacing(target) as part:
        part.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return target


def _front_matter(settings: InferenceSettings) -> str:
    head = {
        "library_name": "transformers",
        "pipeline_tag": "audio-classification",
        "tags": ["audio-classification", "audiocls", settings.params["model"]["family"]],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---"


def _opening(settings: InferenceSettings, model: TrainedModel) -> str:
    trained = settings.params["model"]
    start = "from scratch" if trained["pretrained"] is None else f"from `{escaped(trained['pretrained'])}`"
    versions = ", ".join(f"{name} {version}" for name, version in settings.versions.items())
    return (
        f"# {escaped(settings.params['experiment'])}: {len(settings.labels)} classes of audio\n\n"
        f"A `{trained['family']}` model of {model.num_parameters:,} parameters, trained {start} for "
        f"{counted(model.steps, 'step')} ({model.epochs:.4g} epochs). It {_task(settings)} "
        f"{len(settings.labels)} classes: {name_some(map(escaped, settings.labels), most=_SHOWN_CLASSES)}. "
        f"Versions: {versions}."
    )


def _task(settings: InferenceSettings) -> str:
    return "gives a recording any number of" if settings.multi_label else "classifies recordings as one of"


def _use(settings: InferenceSettings) -> str:
    audio = settings.audio
    return f"""## Use

```python
from audiocls.inference import Classifier  # any file, rate, channels and length

Classifier.load("path/to/this/folder").predict("clip.wav").{_answer(settings)}
```

```python
import mlflow, pandas  # the same from MLflow, which has the code with the model

model = mlflow.pyfunc.load_model("models:/MODEL_ID")
model.predict(pandas.DataFrame({{"path": ["clip.wav"]}}))  # or "audio": bytes; or "audio": samples, and "rate_hz"
```

`mlflow models serve` takes `{{"dataframe_records": [{{"audio": "<base64 of a file>"}}]}}`.

`transformers.pipeline` neither resamples nor cuts: give it mono samples of {audio.sample_rate_hz} Hz and at most
{audio.max_seconds:g} s. {_FILLING[_filled_with(settings)]}{_uncalibrated(settings)}"""


def _uncalibrated(settings: InferenceSettings) -> str:
    if settings.temperature == 1:
        return ""
    return f" Its probabilities are not calibrated: divide the logits by {settings.temperature:.4g} first."


def _answer(settings: InferenceSettings) -> str:
    return "labels" if settings.multi_label else "label"


def _filled_with(settings: InferenceSettings) -> str:
    """Return what training filled short clips with, as far as the model sees it."""
    if settings.audio.pad != "zero":
        return settings.audio.pad
    sees_zeros = ADAPTERS[settings.params["model"]["family"]].extractor_class is Wav2Vec2FeatureExtractor
    return "zero" if sees_zeros else "nothing"


def _data(settings: InferenceSettings, facts: dict[str, Any]) -> str:
    lines = [
        "## Data",
        "",
        f"Source: {settings.params['data']['source']}. Digest of the corpus: `{settings.data_digest or 'unknown'}`. "
        f"{facts['listed']['clips']:,} clips were listed and {facts['usable']['clips']:,} are usable.",
        "",
        "| split | clips | groups | classes |",
        "|---|---|---|---|",
    ]
    for name, split in facts["splits"].items():
        classes = sum(clips > 0 for clips in split["classes"].values())
        lines.append(f"| {name} | {split['clips']:,} | {split['groups']:,} | {classes} |")
    if facts["quarantined"]:
        reasons = ", ".join(f"{count} {escaped(reason)}" for reason, count in facts["quarantined"].items())
        lines += ["", f"Left out, by reason: {reasons}."]
    if facts["lost_classes"]:
        lines += ["", f"No usable clip: {name_some(map(escaped, facts['lost_classes']))}."]
    return "\n".join(lines)


def _metrics(settings: InferenceSettings, evaluation: Evaluation) -> str:
    intervals = _label_intervals(settings, evaluation) if settings.multi_label else _intervals(settings, evaluation)
    shown = _OF_LABEL_SETS if settings.multi_label else _WITH_INTERVALS
    lines = ["## Metrics", "", "| | validation | test | 95 % interval of test |", "|---|---|---|---|"]
    for key, name in (shown | _WITHOUT_INTERVALS).items():
        if f"test/{key}" in evaluation.metrics:
            validation, test = (evaluation.metrics[f"{split}/{key}"] for split in ("validation", "test"))
            ends = _ends(intervals[key]) if key in intervals else ""
            lines.append(f"| {name} | {validation:.4f} | {test:.4f} | {ends} |")
    lines += ["", "The intervals hold for other groups of such recordings, and for this model."]
    if settings.multi_label:
        lines += [
            "A label is given from its threshold on, which was chosen for F1 on validation; F1 of validation is by "
            "thresholds that were fitted on other groups."
        ]
    return "\n".join(lines)


def score_interval(model_folder: Path, evaluation: Evaluation) -> tuple[str, Interval]:
    """Return the name of the main score and its 95 % interval on test, of a model with `inference.json` in its folder.

    It is macro-F1, or the mean average precision if a recording may have any number of labels.
    """
    settings = load_settings(model_folder)
    if settings.multi_label:
        return "mAP", _label_intervals(settings, evaluation)["map_macro"]
    return "macro-F1", _intervals(settings, evaluation)["f1_macro"]


def _ends(found: Interval) -> str:
    return "too few groups" if np.isnan(found.low) else f"{found.low:.4f} to {found.high:.4f}"


def _intervals(settings: InferenceSettings, evaluation: Evaluation) -> dict[str, Interval]:
    columns = ["split", "group", "label", "predicted"]
    table = pd.read_parquet(evaluation.folder / "predictions.parquet", columns=columns)
    test = table[table["split"] == "test"]
    index = {label: i for i, label in enumerate(settings.labels)}
    targets, predicted = (test[name].map(index).to_numpy(np.int64) for name in ("label", "predicted"))
    return score_intervals(targets, predicted, test["group"].to_numpy(str), len(index))


def _label_intervals(settings: InferenceSettings, evaluation: Evaluation) -> dict[str, Interval]:
    table = pd.read_parquet(evaluation.folder / "predictions.parquet")
    test = table[table["split"] == "test"]
    probabilities = test[[f"probability/{label}" for label in settings.labels]].to_numpy()
    thresholds = np.array([settings.thresholds.get(label, DEFAULT_THRESHOLD) for label in settings.labels])
    targets, groups = targets_of(test, settings.labels), test["group"].to_numpy(str)
    found = multi_label_jackknife(targets, probabilities, probabilities >= thresholds, groups)
    return {key: interval(scores, fraction=True) for key, scores in found.items()}


def _classes(splits: dict[str, Any], evaluation: Evaluation) -> pd.DataFrame:
    """Return `label`, `clips` of test, `f1` and `training` clips, the lowest F1 first."""
    report = evaluation.folder / "classification_report.csv"
    table = pd.read_csv(report, dtype={"label": str}, keep_default_na=False, na_values={"f1": [""]})
    table["training"] = table["label"].map(splits["train"]["classes"]).fillna(0).astype(int)
    return table.sort_values("f1", kind="stable", ignore_index=True)


def _class_table(classes: pd.DataFrame) -> str:
    lines = ["| class | training clips | test clips | test F1 |", "|---|---|---|---|"]
    for row in classes.head(_SHOWN_CLASSES).itertuples():
        f1 = "" if pd.isna(row.f1) else f"{row.f1:.4f}"
        lines.append(f"| {escaped(row.label)} | {row.training} | {row.clips} | {f1} |")
    if len(classes) > _SHOWN_CLASSES:
        lines += ["", f"These are the {_SHOWN_CLASSES} classes of the lowest F1, of {len(classes)}."]
    return "\n".join(lines)


def _limits(settings: InferenceSettings, splits: dict[str, Any], classes: pd.DataFrame) -> str:
    audio = settings.audio
    unheard = (
        "A recording of anything else should get no label, if training had such recordings."
        if settings.multi_label
        else "A recording of anything else gets one of them; with a threshold, answers of a lower probability become "
        '"unknown".'
    )
    limits = [
        f"The model knows {len(settings.labels)} classes. {unheard}",
        f"Recordings are resampled to {audio.sample_rate_hz} Hz: nothing above {audio.sample_rate_hz // 2} Hz is used.",
        f"Longer recordings are cut into windows of {audio.max_seconds:g} s, and the whole gets "
        f"{'its labels' if settings.multi_label else 'one label'} by the {settings.pooling} of the windows.",
        f"It was trained on {splits['train']['groups']} groups of recordings. Other speakers, devices, rooms and "
        "noise than these can cost accuracy, which the metrics do not show.",
    ]
    if settings.segmentation:
        limits.append("The thresholds of segments were tuned on validation recordings whose events are known.")
    if audio.truncate == "fusion":
        limits[2] = "The model sees a recording as a whole, shrunk to one input, and one label is given to the whole."
    for few, what in (
        (classes[classes["training"] < _FEW_CLIPS], f"Classes with fewer than {_FEW_CLIPS} training clips"),
        (classes[classes["clips"] == 0], "Classes without test clips, which were not measured"),
    ):
        if len(few):
            limits.append(f"{what}: {name_some(map(escaped, few['label']))}.")
    return "\n".join(["## Limits", "", *(f"- {line}" for line in limits)])
