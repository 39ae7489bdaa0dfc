"""Small made corpora with one planted fault each, and healthy ones, for `diagnosis.py`.

A sound is a contour of pitch: its class. A speaker has a range of pitch, a timbre and a tempo, and is the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.signal
import soundfile
from numpy.typing import NDArray

RATE_HZ = 8_000
CONTOURS = {
    "rise": (0, 1), "fall": (1, 0), "peak": (0, 1, 0), "valley": (1, 0, 1), "level": (0.5, 0.5),
    "wave": (0, 1, 0, 1, 0),
}  # fmt: skip
NOISES = {"low": 350.0, "middle": 800.0, "high": 1_400.0, "highest": 2_200.0}
VIBRATOS = {"slow": 2.5, "medium": 5.0, "fast": 10.0, "fastest": 20.0}
Sound = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Speaker:
    """What all sounds of a speaker have in common."""

    name: str
    pitch_hz: float
    harmonics: NDArray[np.float64]
    seconds: float

    @classmethod
    def draw(cls, name: str, rng: np.random.Generator, seconds: tuple[float, float]) -> Speaker:
        """Draw a speaker."""
        return cls(name, float(np.exp(rng.uniform(np.log(180), np.log(900)))), rng.random(3), rng.uniform(*seconds))


def voiced(speaker: Speaker, pitch: Sound, harmonics: NDArray[Any], rng: np.random.Generator) -> Sound:
    """Return a tone whose pitch, in octaves above the speaker's, follows a curve."""
    phase = 2 * np.pi * np.cumsum(speaker.pitch_hz * 2**pitch) / RATE_HZ
    sound = sum(weight * np.sin((i + 1) * phase) for i, weight in enumerate(harmonics))
    ramp = np.minimum(np.arange(len(pitch)) / (0.02 * RATE_HZ), 1)
    return 0.2 * sound * ramp * ramp[::-1] / np.sqrt((np.square(harmonics)).sum()) * rng.uniform(0.7, 1.3)


def contour(name: str, speaker: Speaker, rng: np.random.Generator) -> Sound:
    """Return a sound whose class is the curve of its pitch."""
    length = round(speaker.seconds * rng.uniform(0.9, 1.1) * RATE_HZ)
    points = np.array(CONTOURS[name])
    curve = np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(points)), points)
    return voiced(speaker, curve * rng.uniform(0.6, 1.1) + rng.normal(0, 0.05), 0.3 + speaker.harmonics, rng)


def vibrato(name: str, speaker: Speaker, rng: np.random.Generator) -> Sound:
    """Return a sound whose class is how fast its pitch wavers."""
    length = round(speaker.seconds * rng.uniform(0.9, 1.1) * RATE_HZ)
    rate_hz = VIBRATOS[name] * rng.uniform(0.9, 1.1)
    curve = 0.2 * np.sin(2 * np.pi * rate_hz * np.arange(length) / RATE_HZ + rng.uniform(0, 6))
    return voiced(speaker, curve + rng.normal(0, 0.05), 0.3 + speaker.harmonics, rng)


def noise(name: str, speaker: Speaker, rng: np.random.Generator) -> Sound:
    """Return a sound whose class is the band of its noise."""
    length = round(speaker.seconds * rng.uniform(0.9, 1.1) * RATE_HZ)
    centre_hz = NOISES[name] * (speaker.pitch_hz / 400) ** 0.2 * rng.uniform(0.95, 1.05)
    band = scipy.signal.butter(2, [0.75 * centre_hz, 1.25 * centre_hz], "band", fs=RATE_HZ, output="sos")
    sound = scipy.signal.sosfilt(band, rng.normal(size=length))
    return 0.12 * rng.uniform(0.7, 1.3) * sound / sound.std()


MAKERS: Mapping[str, tuple[Callable[[str, Speaker, np.random.Generator], Sound], tuple[str, ...]]] = {
    "contours": (contour, tuple(CONTOURS)),
    "noises": (noise, tuple(NOISES)),
    "vibratos": (vibrato, tuple(VIBRATOS)),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A corpus to make, and the params to train with.

    Attributes:
        finding: Kind and cause that the diagnosis should name first; None: the corpus is healthy.
        maker: A key of `MAKERS`.
        speakers: Of each split.
        clips_per_class: Of each split; of training by class, if they differ.
        seconds: Least and greatest length of a speaker's sounds.
        wrong: Fraction of the training labels that are replaced by another class.
        after_seconds: Of sound without any class before each sound.
        recorder: Whether each class has a recorder of its own, except in test.
        given_split: Whether the table has a column with the split.
        params: Of the run, beside those of all corpora.
    """

    finding: tuple[str, str] | None
    maker: str = "contours"
    speakers: tuple[int, int, int] = (24, 16, 24)
    clips_per_class: tuple[int, int, int] = (72, 24, 32)
    tail: float = 1.0
    seconds: tuple[float, float] = (0.5, 0.7)
    wrong: float = 0.0
    after_seconds: float = 0.0
    recorder: bool = False
    given_split: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)


def write_corpus(plan: Plan, folder: Path, seed: int) -> Path:
    """Write the recordings and their table."""
    rng = np.random.default_rng([seed, 1])
    make, labels = MAKERS[plan.maker]
    rows = []
    for split, count, clips in zip(("train", "validation", "test"), plan.speakers, plan.clips_per_class, strict=True):
        speakers = [Speaker.draw(f"{split}-{i}", rng, plan.seconds) for i in range(count)]
        counts = np.full(len(labels), clips)
        if split == "train":
            counts = np.maximum(1, np.round(clips * plan.tail ** -np.linspace(0, 1, len(labels)))).astype(int)
        for k, label in enumerate(labels):
            for i in range(counts[k]):
                speaker = speakers[(i + k) % count]
                sound = make(label, speaker, rng)
                if plan.after_seconds:
                    before = contour(str(rng.choice(tuple(CONTOURS))), speaker, rng)
                    sound = np.concatenate([np.resize(before, round(plan.after_seconds * RATE_HZ)), sound])
                recorder = k if split != "test" else int(rng.integers(len(labels)))
                sound = recorded(sound, rng, recorder if plan.recorder else None, len(labels))
                path = folder / "clips" / split / f"{label}-{speaker.name}-{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, sound, RATE_HZ)
                rows.append((str(path), label, speaker.name, split))
    table = pd.DataFrame(rows, columns=["path", "label", "group", "split"])
    mislabel(table, labels, plan.wrong, rng)
    target = folder / "clips.csv"
    (table if plan.given_split else table.drop(columns="split")).to_csv(target, index=False)
    return target


def recorded(sound: Sound, rng: np.random.Generator, recorder: int | None, recorders: int) -> Sound:
    """Add pauses and the noise of a recorder: its own narrow band, or that of all recorders."""
    pauses = rng.integers(400, 800, 2)
    sound = np.pad(sound, pauses)
    noise = rng.normal(0, 0.001, len(sound))
    if recorder is not None:
        centre_hz = np.geomspace(1_200, 3_600, recorders)[recorder]
        band = scipy.signal.butter(2, [0.93 * centre_hz, 1.07 * centre_hz], "band", fs=RATE_HZ, output="sos")
        noise = noise + scipy.signal.sosfilt(band, rng.normal(0, 0.02, len(sound)))
    return np.clip(sound + noise, -1, 1)


def mislabel(table: pd.DataFrame, labels: tuple[str, ...], fraction: float, rng: np.random.Generator) -> None:
    """Replace the labels of some training clips by another class, in place."""
    training = np.flatnonzero(table["split"] == "train")
    for row in rng.choice(training, round(fraction * len(training)), replace=False):
        others = [label for label in labels if label != table.at[row, "label"]]
        table.at[row, "label"] = rng.choice(others)


def params_of(plan: Plan, table: Path, workspace: Path, seed: int) -> dict[str, Any]:
    """Return the params of a run on a corpus."""
    columns = {"group_column": "group"} | ({"split_column": "split"} if plan.given_split else {})
    params: dict[str, Any] = {
        "experiment": workspace.name,
        "seed": seed,
        "workspace": str(workspace),
        "data": {"source": "table", "path": str(table)} | columns,
        "audio": {"sample_rate_hz": RATE_HZ, "max_seconds": 0.9},
        "split": {"near_duplicates": "ignore"},
        "model": {"config": {"channels": [16, 32], "stem_channels": 8, "num_mel_bins": 24, "window_ms": 32.0}},
        "training": {
            "epochs": 12, "batch_size": 16, "learning_rate": 5.0e-3, "schedule": "cosine", "weight_decay": 0.05,
        },
        "evaluation": {"robustness_clips": 0, "segment_minutes": 0},
    }  # fmt: skip
    for section, values in plan.params.items():
        params[section] = params.get(section, {}) | dict(values)
    return params


PLANS: Mapping[str, Plan] = {
    "imbalance": Plan(("imbalance", "counts"), clips_per_class=(150, 24, 32), tail=50.0),
    "few speakers": Plan(("overfitting", "few_groups"), speakers=(3, 24, 24)),
    "rate too low": Plan(("underfitting", "rate_too_low"), params={"training": {"learning_rate": 5.0e-5}}),
    "rate too high": Plan(("underfitting", "rate_too_high"), params={"training": {"learning_rate": 0.5}}),
    "small model": Plan(
        ("underfitting", "small_model"),
        params={
            "model": {"config": {"channels": [2], "stem_channels": 1, "num_mel_bins": 24, "window_ms": 32.0}},
            "training": {"epochs": 30},
        },
    ),
    "late class": Plan(
        ("long_audio", "truncated"), after_seconds=1.2, params={"audio": {"max_seconds": 0.9, "truncate": "head"}}
    ),
    "padding": Plan(("long_audio", "padding"), params={"audio": {"max_seconds": 3.0}}),
    "wrong labels": Plan(("data", "label_errors"), wrong=0.15),
    "small validation": Plan(
        ("data", "small_validation"),
        speakers=(48, 24, 36),
        given_split=False,
        params={"split": {"validation_fraction": 0.01, "test_fraction": 0.3}},
    ),
    "recorder": Plan(("data", "confound"), recorder=True),
    "healthy contours": Plan(None),
    "healthy noises": Plan(None, maker="noises"),
    "healthy vibratos": Plan(None, maker="vibratos"),
}
