"""Event F1 on long recordings, joined of clips with noise between, with tuned and with untuned thresholds.

    python benchmarks/events.py noise data/phrases/manifest.csv FOLDER
    python benchmarks/events.py score RUN [--seeds 3] [--recordings 10] [--hop 0.25] [--ignore noise] [--picture FILE]

`noise` writes a corpus that has the clips of another and a class of noise, for training a model that knows noise.
`score` takes the folder of a finished run. It joins the clips of its validation and of its test split to recordings of
60 to 120 s, with pauses of 0.5 to 3 s of noise at -55 to -30 dB of full scale. The thresholds of segments are tuned on
the recordings of validation, and the segments found in those of test are scored with a collar of 0.2 s, and with one of
1 s. Each seed joins other recordings; the model is the same. Prints a JSON line per seed, and one of means and ranges.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audiocls.inference import Classifier, Segment, SegmentParams, WindowScores, find_segments, tune_segments
from audiocls.inference.segments import spread
from audiocls.metrics import event_f1

RATE_HZ = 8_000
COLLAR_SECONDS, WIDE_COLLAR_SECONDS = 0.2, 1.0
LONGEST_CLIP_SECONDS = 10.0
NOISE = "noise"
NOISE_CLIPS = {"train": 330, "validation": 115, "test": 110}  # as many as the phrases have of a language
PICTURE_SECONDS = 40.0
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Joined:
    """A recording, where its clips are, and the scores of its windows."""

    samples: Samples
    events: list[Segment]
    scores: WindowScores


@dataclass(frozen=True, slots=True)
class Finder:
    """A model, and how it looks for segments."""

    classifier: Classifier
    hop_seconds: float
    ignore: Sequence[str]

    @property
    def rate_hz(self) -> int:
        """Of the samples that the model takes."""
        return self.classifier.settings.audio.sample_rate_hz

    @property
    def hop(self) -> int:
        """Samples between windows."""
        return round(self.hop_seconds * self.rate_hz)

    def tune(self, recordings: Sequence[Joined]) -> tuple[SegmentParams, float]:
        """Return the params that do best, and their F1."""
        scored = [(each.scores, each.events) for each in recordings]
        labels, hop, rate_hz = self.classifier.labels, self.hop, self.rate_hz
        return tune_segments(scored, labels, hop, rate_hz, collar_seconds=COLLAR_SECONDS, ignore=self.ignore)

    def find(self, recording: Joined, params: SegmentParams) -> list[Segment]:
        """Return the segments of a recording."""
        labels = self.classifier.labels
        return find_segments(recording.scores, labels, params, self.hop, self.rate_hz, self.ignore)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    noise = commands.add_parser("noise")
    noise.add_argument("manifest", type=Path)
    noise.add_argument("folder", type=Path)
    score = commands.add_parser("score")
    score.add_argument("run", type=Path, help="folder with model/ and evaluation/predictions.parquet")
    score.add_argument("--seeds", type=int, default=3)
    score.add_argument("--recordings", type=int, default=10, help="of each split and seed")
    score.add_argument("--hop", type=float, default=0.25, help="seconds between windows")
    score.add_argument("--ignore", nargs="*", default=[], help="labels that are no events")
    score.add_argument("--picture", type=Path, help="PNG of a test recording")
    given = parser.parse_args()
    if given.command == "noise":
        add_noise_class(given.manifest, given.folder)
    else:
        finder = Finder(Classifier.load(given.run / "model", device="cpu"), given.hop, given.ignore)
        clips = pd.read_parquet(given.run / "evaluation" / "predictions.parquet")
        clips = clips[~clips["label"].isin(given.ignore)]
        lines = [measure(finder, clips, seed, given.recordings, given.picture) for seed in range(1, given.seeds + 1)]
        print(json.dumps({"model": finder.classifier.labels, **summarize(lines)}))


def add_noise_class(manifest: Path, folder: Path) -> None:
    """Write a manifest with the clips of another, and clips of noise of 0.5 to 3 s; each is a group of its own."""
    clips = pd.read_csv(manifest)
    clips["path"] = [str(manifest.parent.absolute() / path) for path in clips["path"]]
    rng = np.random.default_rng(0)
    rows = []
    for split, count in NOISE_CLIPS.items():
        for number in range(count):
            path = folder / NOISE / f"{split}-{number:03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, make_noise(rng), RATE_HZ)
            rows.append({"path": str(path.absolute()), "label": NOISE, "group": path.name, "split": split})
    pd.concat([clips, pd.DataFrame(rows)]).to_csv(folder / "manifest.csv", index=False)


def make_noise(rng: np.random.Generator) -> Samples:
    """Draw noise of random length, level and color: the power falls with the frequency to the power of 0 to 2."""
    count = round(rng.uniform(0.5, 3.0) * RATE_HZ)
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum *= np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 50.0) ** (-rng.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, count)
    level = 10 ** (rng.uniform(-55.0, -30.0) / 20)
    return (noise * level / np.sqrt((noise**2).mean())).astype(np.float32)


def measure(finder: Finder, clips: pd.DataFrame, seed: int, number: int, picture: Path | None) -> dict[str, Any]:
    """Score the segments that are found with and without tuning, print and return the scores."""
    rng = np.random.default_rng(seed)
    validation = join_clips(finder, clips[clips["split"] == "validation"], number, rng)
    test = join_clips(finder, clips[clips["split"] == "test"], number, rng)
    tuned, validation_f1 = finder.tune(validation)
    line: dict[str, Any] = {
        "seed": seed, "minutes": round(sum(len(each.samples) for each in test) / RATE_HZ / 60, 1),
        "events": sum(len(each.events) for each in test), "validation_f1": round(validation_f1, 4),
    }  # fmt: skip
    for name, params in (("untuned", SegmentParams()), ("tuned", tuned)):
        line[name] = params.as_settings() | score_segments(finder, test, params)
    print(json.dumps(line), flush=True)
    if picture is not None and seed == 1:
        draw(finder, test[0], tuned, picture)
    return line


def join_clips(finder: Finder, clips: pd.DataFrame, number: int, rng: np.random.Generator) -> list[Joined]:
    """Join clips in random order, each at most once, to recordings that begin and end with noise."""
    paths = iter(clips[["path", "label"]].iloc[rng.permutation(len(clips))].itertuples(index=False, name=None))
    joined = []
    for _ in range(number):
        parts, events = [make_noise(rng)], []
        wanted, length = rng.uniform(60, 120) * RATE_HZ, len(parts[0])
        while length < wanted:
            path, label = next(paths)
            clip, rate_hz = soundfile.read(path, dtype="float32")
            assert rate_hz == RATE_HZ, f"{path}: {rate_hz} Hz, needed: {RATE_HZ}"
            if len(clip) > LONGEST_CLIP_SECONDS * RATE_HZ:
                continue
            events.append(Segment(label, length / RATE_HZ, (length + len(clip)) / RATE_HZ, 1.0))
            parts += [clip, make_noise(rng)]
            length += len(clip) + len(parts[-1])
        samples = np.concatenate(parts)
        scores = finder.classifier.windows((samples, RATE_HZ), hop_seconds=finder.hop_seconds)
        joined.append(Joined(samples, events, scores))
    return joined


def score_segments(finder: Finder, recordings: Sequence[Joined], params: SegmentParams) -> dict[str, float]:
    """Return the event scores of the segments that some params give."""
    true, found = [each.events for each in recordings], [finder.find(each, params) for each in recordings]
    scores = event_f1(true, found, COLLAR_SECONDS)
    wide = event_f1(true, found, WIDE_COLLAR_SECONDS)
    named = {"f1": scores.f1, "precision": scores.precision, "recall": scores.recall, "f1_wide": wide.f1}
    return {name: round(value, 4) for name, value in named.items()}


def summarize(lines: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return mean, lowest and highest score of the seeds."""
    found = {}
    for name in ("untuned", "tuned"):
        for metric in ("f1", "precision", "recall", "f1_wide"):
            values = [line[name][metric] for line in lines]
            found[f"{name}_{metric}"] = [round(float(np.mean(values)), 4), min(values), max(values)]
    return found


def draw(finder: Finder, recording: Joined, tuned: SegmentParams, target: Path) -> None:
    """Draw the waveform, the probabilities, and the true and found segments of the beginning of a recording."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    wave, chances, spans = figure.subplots(3, sharex=True, height_ratios=(1, 1.6, 1.2))
    step = RATE_HZ // 50
    columns = recording.samples[: len(recording.samples) // step * step].reshape(-1, step)
    times = np.arange(len(columns)) * step / RATE_HZ
    wave.fill_between(times, columns.min(axis=1), columns.max(axis=1), color="#777777", linewidth=0)
    wave.set(ylabel="waveform", yticks=[])
    frames = spread(recording.scores, finder.hop)
    events = [label for label in finder.classifier.labels if label not in finder.ignore]
    colors = {label: f"C{number}" for number, label in enumerate(events)} | dict.fromkeys(finder.ignore, "#bbbbbb")
    starts = np.arange(len(frames)) * finder.hop_seconds
    for label, values in zip(finder.classifier.labels, frames.T, strict=True):
        chances.step(starts, values, where="post", color=colors[label], label=label)
    chances.set(ylabel="probability", ylim=(0, 1.02))
    chances.legend(ncols=len(colors), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    rows = (
        ("true", recording.events),
        ("untuned", finder.find(recording, SegmentParams())),
        ("tuned", finder.find(recording, tuned)),
    )
    for row, (_, segments) in enumerate(rows):
        for each in segments:
            width = each.end_seconds - each.start_seconds
            spans.barh(row, width, left=each.start_seconds, height=0.7, color=colors[each.label], edgecolor="black")
    spans.set_yticks(range(len(rows)), [name for name, _ in rows])
    spans.invert_yaxis()
    spans.set(xlabel="seconds", xlim=(0, PICTURE_SECONDS))
    FigureCanvasAgg(figure)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    main()
