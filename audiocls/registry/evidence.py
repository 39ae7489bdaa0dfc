"""What the gate looks at: both models answer the same test clips, which trained neither of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.batches import input_samples
from audiocls.evaluation import CORRUPTED, Answers, SavedModel, Selection, evaluate, select_clips, slices_of
from audiocls.inference import load_torch, seconds_per_window
from audiocls.registry.gate import Decision, Side, decide, decide_first
from audiocls.sources import LABELS, class_names, is_multi_label, targets_of
from audiocls.splits import PreparedData

_SIDES: Final = ("challenger", "champion")
_WEIGHTS: Final = "*.safetensors"
_TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, and how many test clips it rests on."""

    decision: Decision
    clips: int
    groups: int
    left_out: Mapping[str, int]
    """Test clips that were left out, by why."""


def judge(challenger: SavedModel, champion: SavedModel | None, data: PreparedData, folder: Path) -> Judged:
    """Let a challenger and the champion answer the test clips, and decide between them.

    Test clips of groups that the champion or the challenger was trained on, and those with labels that the champion
    does not know, are left out and counted. The champion is scored anew, never by a figure of the past.

    Args:
        challenger: The new model.
        champion: The model in use; None: there is none.
        data: Of the challenger's training, with its split.
        folder: Gets a folder with the evaluation of each model.
    """
    params = data.params
    if champion is None:
        selection = select_clips(data.split_clips, challenger, folder, part="test")
        _answer(challenger, selection, data, folder / _SIDES[0])
        labels = challenger.settings.labels
        side = _side(pd.read_parquet(selection.clips), folder / _SIDES[0], labels)
        decision = decide_first(params.gate, side.answers, _training_counts(data, labels))
        return Judged(decision, selection.num_clips, selection.groups, selection.left_out)
    first = select_clips(data.split_clips, champion, folder / "known", part="test")
    selection = select_clips(first.clips, challenger, folder, part="test")
    clips = pd.read_parquet(selection.clips)
    labels = class_names(clips)
    sides = []
    for name, model in zip(_SIDES, (challenger, champion), strict=True):
        _answer(model, selection, data, folder / name)
        sides.append(_side(clips, folder / name, labels))
    ours, theirs = _with_costs(sides[0], sides[1], challenger.folder, champion.folder)
    slices = {f"{column} = {value}": rows for column, value, rows in slices_of(clips)}
    left_out = {why: first.left_out[why] + count for why, count in selection.left_out.items()}
    decision = decide(params.gate, ours, theirs, labels, slices)
    return Judged(decision, selection.num_clips, selection.groups, left_out)


def _answer(model: SavedModel, selection: Selection, data: PreparedData, folder: Path) -> None:
    # The gate asks for answers; wrong labels and a projection are in the report of the training.
    asked = model.params.evaluation.model_copy(update={"label_error_clips": 0, "projection_clips": 0})
    params = model.params.model_copy(update={"evaluation": asked})
    prepared = PreparedData(selection.clips, data.waveforms, params, digest=data.digest)
    evaluate(model.folder, prepared, folder, model.settings)


def _side(clips: pd.DataFrame, folder: Path, labels: list[str]) -> Side:
    table = pd.read_parquet(folder / "predictions.parquet").set_index("clip_id").loc[clips["clip_id"]].reset_index()
    answers = _as_answers(clips, table, labels)
    corrupted: dict[str, Answers] = {}
    if (folder / CORRUPTED).is_file():
        by_id = clips.set_index("clip_id", drop=False)
        for kind, part in pd.read_parquet(folder / CORRUPTED).groupby("corruption", sort=False):
            corrupted[str(kind)] = _as_answers(by_id.loc[part["clip_id"]], part, labels)
    return Side(answers, corrupted)


def _as_answers(clips: pd.DataFrame, table: pd.DataFrame, labels: list[str]) -> Answers:
    """Return answers as indices into labels; what is not among these is one class more, which no clip has."""
    groups, index = clips["group"].to_numpy(str), {label: i for i, label in enumerate(labels)}
    targets = targets_of(clips, labels)
    if not is_multi_label(clips):
        predicted = table["predicted"].map(lambda label: index.get(label, len(labels))).to_numpy(np.int64)
        return Answers(targets, predicted, groups, len(labels) + 1)
    found = np.zeros(targets.shape, bool)
    for row, named in enumerate(table["predicted"]):
        found[row, [index[label] for label in named if label in index]] = True
    columns = [f"probability/{label}" for label in labels]
    probabilities = table.reindex(columns=columns, fill_value=0.0).to_numpy(np.float64)
    return Answers(targets, found, groups, len(labels), probabilities)


def _with_costs(ours: Side, theirs: Side, *folders: Path) -> tuple[Side, Side]:
    """Measure both models in turns on the CPU, each on windows of its own length."""
    loaded = [load_torch(folder, "cpu") for folder in folders]
    turns = [
        [
            seconds_per_window([runtime], input_samples(settings.audio))[0] / settings.audio.max_seconds
            for runtime, settings in loaded
        ]
        for _ in range(_TURNS)
    ]
    taken = [min(column) for column in zip(*turns, strict=True)]
    sizes = [sum(file.stat().st_size for file in folder.glob(_WEIGHTS)) for folder in folders]
    first, second = (
        Side(side.answers, side.corrupted, seconds, size)
        for side, seconds, size in zip((ours, theirs), taken, sizes, strict=True)
    )
    return first, second


def _training_counts(data: PreparedData, labels: list[str]) -> NDArray[np.int64]:
    table = pd.read_parquet(data.split_clips)
    table = table[table["split"] == "train"]
    named = table[LABELS].explode() if is_multi_label(table) else table["label"]
    counts: NDArray[np.int64] = named.value_counts().reindex(labels, fill_value=0).to_numpy(np.int64)
    return counts
