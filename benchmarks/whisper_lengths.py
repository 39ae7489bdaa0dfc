"""Measure what a frozen Whisper encoder costs, and what a head on it scores, with short and with long windows.

    OMP_NUM_THREADS=1 python benchmarks/whisper_lengths.py params/phrases.yaml CHECKPOINT [--seconds 5 30] [--clips 300]
        [--set data.path=FILE workspace=FOLDER ...]

CHECKPOINT is the folder or the hub id of a Whisper, such as tiny.en. Each length is one `audio.max_seconds`: Whisper
hears a window of that length, and a shorter clip is padded to it with silence. A linear head is trained on the
embeddings of at most `--clips` training clips, whole groups of them, and scored on as many of test, where a longer clip
is several windows. The lengths take turns. Prints a JSON line per length: CPU seconds per clip for embedding clips that
are decoded already, macro-F1 on test with its 95 % interval, and the difference to the last length.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import Meter
from numpy.typing import NDArray
from preparation import prepare
from transformers import PreTrainedModel

from audiocls.batches import CLIP, cut_into_windows
from audiocls.features import embed_clips
from audiocls.heads import Clips, Scaling, train_head
from audiocls.metrics import GroupCounts, Jackknife, f1_macro, interval, jackknife
from audiocls.models import build_model
from audiocls.params import HeadParams
from audiocls.params_file import load_params
from audiocls.splits import PreparedData

SPLITS = ("train", "test")


@dataclass(slots=True)
class Length:
    """A model with windows of one length, and what it made of the clips."""

    model: PreTrainedModel
    extractor: Any
    data: PreparedData
    embedded: dict[str, Clips] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    @property
    def windows(self) -> int:
        """Windows embedded so far."""
        return sum(len(clips.embeddings) for clips in self.embedded.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("params", type=Path)
    parser.add_argument("checkpoint")
    parser.add_argument("--seconds", type=float, nargs="+", default=[5.0, 30.0])
    parser.add_argument("--clips", type=int, default=300, help="of each split")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the params file")
    given = parser.parse_args()
    family = [f"model={json.dumps({'family': 'whisper', 'pretrained': given.checkpoint})}", *given.set]
    prepared = prepare(load_params(given.params, [*family, f"audio.max_seconds={given.seconds[0]}"]))
    table = choose_clips(pd.read_parquet(prepared.split_clips), given.clips)
    labels = sorted(table["label"].unique())
    with tempfile.TemporaryDirectory() as folder:  # nothing is embedded before
        lengths = {
            seconds: build(prepared, seconds, labels, Path(folder) / f"{seconds:g}") for seconds in given.seconds
        }
        for split in SPLITS:
            for length in lengths.values():
                embed(length, table[table["split"] == split], split, labels)
    report(lengths, len(table), len(labels))


def choose_clips(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the clips of groups that are drawn until each split has as many clips as asked for."""
    parts = []
    for split in SPLITS:
        clips = table[table["split"] == split]
        groups = np.random.default_rng(0).permutation(clips["group"].unique())
        sizes = clips["group"].value_counts().reindex(groups).cumsum()
        parts.append(clips[clips["group"].isin(sizes.index[sizes <= most])])
    return pd.concat(parts)


def build(prepared: PreparedData, seconds: float, labels: Sequence[str], workspace: Path) -> Length:
    """Build the model whose windows have a length; its embeddings are stored in the workspace."""
    params = prepared.params
    audio = params.audio.model_copy(update={"max_seconds": seconds})
    model, extractor = build_model(params.model, audio, labels)
    own = params.model_copy(update={"audio": audio, "workspace": workspace})
    return Length(model, extractor, replace(prepared, params=own))


def embed(length: Length, clips: pd.DataFrame, split: str, labels: Sequence[str]) -> None:
    """Embed the clips of a split: of a long one the middle for training, and all windows for test."""
    windows = clips.assign(**{CLIP: np.arange(len(clips))})
    if split == "test":
        windows = cut_into_windows(clips, length.data.params.audio)
    found: list[NDArray[np.float32]] = []
    cost = Meter.of(lambda: found.append(embed_clips(length.model, length.extractor, windows, length.data)))
    length.cpu_seconds += cost.cpu
    targets = clips["label"].map(labels.index).to_numpy(np.int64)
    of_clip = windows[CLIP].to_numpy(np.int64)
    length.embedded[split] = Clips(found[0], targets, clips["group"].to_numpy(object), of_clip)


def score(length: Length, num_classes: int) -> Jackknife:
    """Train a head on the embeddings of the training clips, and return its macro-F1 on test."""
    training, test = length.embedded["train"], length.embedded["test"]
    scaling = Scaling.of(training.embeddings)
    standard = scaling.apply(training.embeddings)
    head = train_head(standard, training.targets, num_classes, HeadParams().penalty, "cpu").unscaled(scaling)
    predicted = test.logits(head).argmax(axis=1)[None]
    return jackknife(GroupCounts.of(test.targets, predicted, test.groups, num_classes), f1_macro)


def report(lengths: dict[float, Length], clips: int, num_classes: int) -> None:
    scores = {seconds: score(length, num_classes) for seconds, length in lengths.items()}
    *_, last = scores.values()
    for seconds, length in lengths.items():
        level, gain = interval(scores[seconds], fraction=True), interval(scores[seconds].minus(last))
        line = {
            "seconds": seconds, "threads": torch.get_num_threads(), "clips": clips, "windows": length.windows,
            "test_clips": len(length.embedded["test"].targets), "classes": num_classes,
            "cpu_seconds_per_clip": round(length.cpu_seconds / clips, 4),
            "f1_macro": [round(float(each), 4) for each in (level.value, level.low, level.high)],
            "over_last": [round(float(each), 4) for each in (gain.value, gain.low, gain.high)],
        }  # fmt: skip
        print(json.dumps(line))


if __name__ == "__main__":
    main()
