"""The built-in corpus of mixtures: one to three digits at once, spoken by voices of the same place.

    <folder>/
        manifest.csv                  path (relative to this folder), label (digits with commas), group (the place)
        settings.json                 the corpus settings; a finished corpus is not generated again
        clips/<place>/<number>.wav    16 kHz, mono, 16 bits

A place has three voices, which speak in no other place. A twentieth of the clips is only the noise of the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocls.sources.espeak import Espeak
from audiocls.sources.sample import (
    DIGITS,
    SAMPLE_RATE_HZ,
    VERSION,
    Voice,
    class_counts,
    draw_voices,
    is_spoken,
    record,
    speak,
    write_corpus,
)

_VOICES: Final = 3  # of a place
_NUMBERS_OF_DIGITS: Final = {0: 0.05, 1: 0.35, 2: 0.35, 3: 0.25}
_LATEST_SECONDS: Final = 0.5  # at which a digit begins
_GAIN_DB: Final = 6.0  # by which the digits of a mixture differ at most, either way


@dataclass(frozen=True)
class Mixture:
    """A clip to be made: the digits and who speaks each, and the path relative to the corpus folder."""

    digits: tuple[str, ...]
    voices: tuple[Voice, ...]
    place: str
    path: str


def build_mixture_corpus(folder: Path, *, voices: int, clips: int, imbalance_ratio: float, seed: int) -> Path:
    """Generate the corpus in `folder` unless it exists, and return the path of its manifest.

    Args:
        folder: Its name should encode the settings, since a folder holds one corpus.
        voices: Number of synthetic speakers; each three are a group.
        clips: Total number of clips.
        imbalance_ratio: How often the most frequent digit is drawn per draw of the rarest, >= 1.
        seed: Seeds all random choices.

    Returns:
        `folder/manifest.csv` with the columns path, label, group.

    Raises:
        MissingExtraError: espeak-ng is not installed.
        ParamsError: A class would have too few clips for three splits.
        StoreError: `folder` holds something else, or cannot be written.
    """
    settings = {
        "version": VERSION,
        "labels": "multi",
        "voices": voices,
        "clips": clips,
        "imbalance_ratio": imbalance_ratio,
        "seed": seed,
    }
    if not is_spoken(folder, settings):
        mixtures = draw_mixtures(draw_voices(voices, seed), clips, imbalance_ratio, seed)
        rows = [(each.path, ",".join(sorted(each.digits)), each.place) for each in mixtures]
        write_corpus(folder, _record_all(mixtures, seed), rows, settings)
    return folder / "manifest.csv"


def draw_mixtures(voices: list[Voice], clips: int, imbalance_ratio: float, seed: int) -> list[Mixture]:
    """Draw the digits and voices of each clip; places take turns."""
    counts = class_counts(clips, imbalance_ratio)
    frequencies = np.array([counts[digit] for digit in DIGITS]) / clips
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(len(voices))
    places = [[voices[i] for i in part] for part in np.array_split(order, max(1, len(voices) // _VOICES))]
    drawn = []
    for index in range(clips):
        number = int(index % len(places))
        here = places[number]
        size = int(rng.choice(list(_NUMBERS_OF_DIGITS), p=list(_NUMBERS_OF_DIGITS.values())))
        digits = rng.choice(len(DIGITS), size, replace=False, p=frequencies)
        speakers = rng.choice(len(here), size, replace=size > len(here))
        drawn.append(
            Mixture(
                tuple(DIGITS[digit] for digit in digits),
                tuple(here[speaker] for speaker in speakers),
                f"place-{number:03d}",
                f"clips/place-{number:03d}/{index:06d}.wav",
            )
        )
    return drawn


def _record_all(mixtures: list[Mixture], seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    with Espeak() as espeak:
        for index, mixture in enumerate(mixtures):
            yield mixture.path, _record(mixture, espeak, np.random.default_rng([seed, 4, index]))


def _record(mixture: Mixture, espeak: Espeak, rng: np.random.Generator) -> NDArray[np.float32]:
    """Speak the digits, each from a time of its own, and record the sum; mono, shape (samples,), at 16 kHz."""
    if not mixture.digits:
        noise = rng.standard_normal(int(rng.uniform(0.6, 1.5) * SAMPLE_RATE_HZ)) * 10 ** (rng.uniform(-45, -25) / 20)
        return np.clip(noise, -1, 1).astype(np.float32)
    spoken = [speak(digit, voice, espeak, rng) for digit, voice in zip(mixture.digits, mixture.voices, strict=True)]
    starts = (rng.uniform(0, _LATEST_SECONDS, len(spoken)) * SAMPLE_RATE_HZ).astype(int)
    starts -= starts.min()
    gains = 10 ** (rng.uniform(-_GAIN_DB, _GAIN_DB, len(spoken)) / 20)
    total = np.zeros(max(start + len(each) for start, each in zip(starts, spoken, strict=True)), np.float32)
    for start, gain, each in zip(starts, gains, spoken, strict=True):
        total[start : start + len(each)] += gain * each / max(float(np.abs(each).max()), 1e-9)
    return record(total, rng)
