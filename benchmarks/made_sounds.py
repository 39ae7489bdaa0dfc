"""Short synthetic sounds that are easily confused: `MADE` maps a name to a function of a random generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
from numpy.typing import NDArray

RATE_HZ = 16_000
Sound = NDArray[np.float64]


def seconds_of(rng: np.random.Generator, least: float, most: float) -> Sound:
    """Return the times of the samples of a sound of random length."""
    return np.arange(round(rng.uniform(least, most) * RATE_HZ)) / RATE_HZ


def padded(sound: Sound, rng: np.random.Generator) -> Sound:
    """Put digital silence before and after."""
    return np.pad(sound, rng.integers(300, 5_000, 2))


def faded(sound: Sound) -> Sound:
    """Fade in and out over 10 ms."""
    ramp = np.minimum(np.arange(len(sound)) / (0.01 * RATE_HZ), 1)
    return sound * ramp * ramp[::-1]


def chirp(rng: np.random.Generator, lowest_hz: float, highest_hz: float) -> Sound:
    """Sweep between two random frequencies, and start and stop hard."""
    time = seconds_of(rng, 0.4, 1.2)
    start_hz, stop_hz = rng.uniform(lowest_hz, highest_hz, 2)
    return 0.5 * scipy.signal.chirp(time, start_hz, time[-1], stop_hz, phi=rng.uniform(0, 360))


def tone(rng: np.random.Generator) -> Sound:
    """Return a sine of a random frequency."""
    return 0.5 * np.sin(2 * np.pi * rng.uniform(100, 7_000) * seconds_of(rng, 0.3, 1) + rng.uniform(0, 6))


def click(rng: np.random.Generator) -> Sound:
    """Return a damped sine of 1 to 20 ms."""
    time = seconds_of(rng, 0.001, 0.02)
    sound = np.exp(-time / time[-1] * rng.uniform(2, 6)) * np.sin(2 * np.pi * rng.uniform(300, 6_000) * time)
    return padded(np.pad(0.8 * sound, (0, 3_000)), rng)


def impulses(rng: np.random.Generator) -> Sound:
    """Return one to five samples among zeros."""
    sound = np.zeros(rng.integers(5_000, 12_000))
    sound[rng.integers(100, len(sound) - 100, rng.integers(1, 6))] = 0.9
    return sound


def note(rng: np.random.Generator) -> Sound:
    """Return a note of the scale with seven harmonics, and start and stop it hard."""
    hz, harmonics = 440 * 2 ** (rng.integers(-24, 12) / 12), np.arange(1, 8)[:, None]
    waves = np.sin(2 * np.pi * hz * harmonics * seconds_of(rng, 0.3, 1) + rng.uniform(0, 6, (7, 1)))
    return 0.15 * (waves / harmonics ** rng.uniform(0.5, 2)).sum(axis=0)


def plucked(rng: np.random.Generator) -> Sound:
    """Let a note die away."""
    sound = note(rng)
    return sound * np.exp(-np.arange(len(sound)) / RATE_HZ * rng.uniform(3, 15))


def burst(rng: np.random.Generator) -> Sound:
    """Return 5 to 400 ms of white noise."""
    return padded(0.3 * rng.normal(size=len(seconds_of(rng, 0.005, 0.4))), rng)


def narrow_burst(rng: np.random.Generator) -> Sound:
    """Return noise of a tenth of its frequency in bandwidth."""
    hz = rng.uniform(300, 7_000)
    band = scipy.signal.butter(2, [0.95 * hz, 1.05 * hz], "band", fs=RATE_HZ, output="sos")
    sound = scipy.signal.sosfilt(band, rng.normal(size=len(seconds_of(rng, 0.1, 0.5))))
    return padded(0.4 * sound / np.abs(sound).max(), rng)


def kick(rng: np.random.Generator) -> Sound:
    """Return a kick drum: a falling tone that dies away."""
    time = seconds_of(rng, 0.2, 0.5)
    hz = rng.uniform(40, 70) + rng.uniform(100, 400) * np.exp(-time * rng.uniform(20, 60))
    return 0.8 * np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ) * np.exp(-time * rng.uniform(6, 20))


def hat(rng: np.random.Generator) -> Sound:
    """Return a hi-hat: high noise that dies away."""
    time = seconds_of(rng, 0.1, 0.4)
    high = scipy.signal.butter(4, rng.uniform(3_000, 6_500), "high", fs=RATE_HZ, output="sos")
    sound = scipy.signal.sosfilt(high, rng.normal(size=len(time))) * np.exp(-time * rng.uniform(10, 60))
    return padded(0.4 * sound, rng)


def loop(rng: np.random.Generator) -> Sound:
    """Return one bar of three drums at random sixteenths."""
    step = round(15 / rng.uniform(80, 160) * RATE_HZ)
    sound = np.zeros(16 * step + 2 * RATE_HZ)
    for drum, density in ((kick(rng), 0.3), (hat(rng), 0.7), (burst(rng), 0.2)):
        for start in np.flatnonzero(rng.random(16) < density) * step:
            sound[start : start + len(drum)] += drum
    return 0.5 * sound / max(np.abs(sound).max(), 0.1)


MADE: dict[str, Callable[[np.random.Generator], Sound]] = {
    "chirp above 3.5 kHz, hard edges": lambda rng: chirp(rng, 3_500, 7_600),
    "chirp above 3.5 kHz, faded": lambda rng: faded(chirp(rng, 3_500, 7_600)),
    "chirp below 3.3 kHz, hard edges": lambda rng: chirp(rng, 200, 3_300),
    "tone, hard edges": tone,
    "tone, faded": lambda rng: faded(tone(rng)),
    "click": click,
    "impulses": impulses,
    "note, hard edges": note,
    "gated note": lambda rng: padded(note(rng), rng),
    "plucked note": plucked,
    "burst of noise": burst,
    "burst of narrow noise": narrow_burst,
    "kick drum": kick,
    "hi-hat": hat,
    "drum loop": loop,
}
