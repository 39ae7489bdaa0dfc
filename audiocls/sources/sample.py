"""The built-in corpus: ten digits spoken by many synthetic voices, long-tailed, with light noise and echo.

    <folder>/
        manifest.csv                        path (relative to this folder), label, group (the voice)
        settings.json                       the corpus settings; a finished corpus is not generated again
        clips/<label>/<voice>-<n>.wav       16 kHz, mono, 16 bits

One `Espeak` speaks all clips in a fixed order in this process, so the same settings always give the same bytes. A clip
takes about 4 ms on one core, so the default corpus takes seconds.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocls.errors import ParamsError, StoreError, counted
from audiocls.sources.espeak import Espeak, Prosody

VERSION: Final = 1  # increment on any change that alters a byte of a clip
SAMPLE_RATE_HZ: Final = 16_000

# From the most frequent class to the rarest. The rarest (nine) sounds most like the two most frequent (five, one), so
# that a model that neglects rare classes makes visible errors.
DIGITS: Final = ("five", "one", "three", "six", "zero", "two", "seven", "four", "eight", "nine")

# All English accents of espeak-ng 1.52 except en-shaw, which is en in another script; en is British.
ACCENTS: Final = (
    "en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
)  # fmt: skip

# Female voices are few and come early, so that a small corpus includes them. Excluded variants of espeak-ng: whispers
# and robots; those whose digits a linear classifier trained on the others misclassified; one of each pair of near
# copies; and those with `klatt 6`, whose noise comes from the process-wide rand() and is not reproducible.
VARIANTS: Final = (
    "f1", "m1", "f3", "m3", "Andrea", "m7", "f5", "grandpa", "Annie", "m2", "f2", "boris", "belinda", "m4", "anika",
    "Tweaky", "f4", "Mario", "aunty", "victor", "grandma", "m8", "shelby", "Mike", "linda", "Storm", "steph", "Nguyen",
    "Alex", "AnxiousAndy", "Andy", "Denis", "Diogo", "Gene", "Hugo", "Jacky", "Michael", "announcer", "antonio",
    "croak", "ed", "edward", "fast", "gustave", "iven", "iven2", "iven3", "iven4", "john", "klatt3", "m5", "m6",
    "marcelo", "max", "michel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "travis",
)  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker: an accent, a vocal tract and its own prosody."""

    name: str
    accent: str
    variant: str
    prosody: Prosody


@dataclass(frozen=True)
class Take:
    """A clip to be spoken: the digit, the voice, and the path relative to the corpus folder."""

    label: str
    voice: Voice
    path: str


def build_sample_corpus(folder: Path, *, voices: int, clips: int, imbalance_ratio: float, seed: int) -> Path:
    """Generate the corpus in `folder` unless it exists, and return the path of its manifest.

    The folder appears complete or not at all; a killed build leaves a hidden folder `.<name>.*.part` beside it.

    Args:
        folder: Its name should encode the settings, since a folder holds one corpus.
        voices: Number of synthetic speakers; each is a group.
        clips: Total number of clips.
        imbalance_ratio: Clips of the most frequent class per clip of the rarest, >= 1.
        seed: Seeds the voices' prosody, the assignment of clips to voices, and each clip's variation and noise.

    Returns:
        `folder/manifest.csv` with the columns path, label, group.

    Raises:
        MissingExtraError: espeak-ng is not installed.
        ParamsError: A class would have too few clips for three splits.
        StoreError: `folder` holds something else, or cannot be written.
    """
    settings = {
        "version": VERSION,
        "voices": voices,
        "clips": clips,
        "imbalance_ratio": imbalance_ratio,
        "seed": seed,
    }
    if not is_spoken(folder, settings):
        takes = cast_takes(draw_voices(voices, seed), class_counts(clips, imbalance_ratio), seed)
        rows = [(take.path, take.label, take.voice.name) for take in takes]
        write_corpus(folder, _record_all(takes, seed), rows, settings)
    return folder / "manifest.csv"


def class_counts(clips: int, imbalance_ratio: float) -> dict[str, int]:
    """Distribute `clips` over the digits; counts fall exponentially, from `imbalance_ratio` times the last count.

    Raises:
        ParamsError: The rarest class would have fewer than 3 clips.

    Source:
        The class profile of long-tailed CIFAR in Cui et al. 2019, arXiv:1901.05555.
    """
    profile = imbalance_ratio ** -np.linspace(0, 1, len(DIGITS))
    exact = clips * profile / profile.sum()
    counts = np.floor(exact).astype(int)
    most_cut = np.argsort(counts - exact, kind="stable")
    counts[most_cut[: clips - counts.sum()]] += 1
    if counts[-1] < 3:
        raise ParamsError(
            f"data.clips = {clips} with data.imbalance_ratio = {imbalance_ratio} leaves {counted(counts[-1], 'clip')} "
            f"of {DIGITS[-1]!r}, but three splits need 3. Raise data.clips or lower data.imbalance_ratio."
        )
    return dict(zip(DIGITS, counts.tolist(), strict=True))


def draw_voices(count: int, seed: int) -> list[Voice]:
    """Draw speakers; the first 64 differ in vocal tract, the first 512 in the pair of vocal tract and accent."""
    return [_draw_voice(index, np.random.default_rng([seed, 0, index])) for index in range(count)]


def _draw_voice(index: int, rng: np.random.Generator) -> Voice:
    variant = VARIANTS[index % len(VARIANTS)]
    accent = ACCENTS[(index + index // len(VARIANTS)) % len(ACCENTS)]
    prosody = Prosody(
        words_per_minute=int(rng.integers(145, 196)),
        pitch=int(rng.integers(30, 71)),  # 0.8 to 1.3 times the variant's default
        pitch_range=int(rng.integers(35, 66)),
    )
    return Voice(f"{index:03d}_{accent}_{variant}", accent, variant, prosody)


def cast_takes(voices: list[Voice], counts: Mapping[str, int], seed: int) -> list[Take]:
    """Assign the clips to the voices in turn, across classes.

    So all voices speak equally often, and a class with fewer clips than voices has no two clips from one voice.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(voices)).tolist()
    labels = [label for label, count in counts.items() for _ in range(count)]
    takes, spoken = [], Counter[tuple[str, str]]()
    for deal, label in enumerate(labels):
        voice = voices[order[deal % len(voices)]]
        spoken[label, voice.name] += 1
        takes.append(Take(label, voice, f"clips/{label}/{voice.name}-{spoken[label, voice.name]}.wav"))
    return takes


def add_echo(
    waveform: NDArray[np.float32], decay_seconds: float, echo_db: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Convolve with a synthetic room impulse response: the direct sound, then exponentially decaying noise.

    Args:
        waveform: Mono, shape (samples,), at 16 kHz.
        decay_seconds: Time in which the echo falls by 60 dB.
        echo_db: Energy of the echo relative to the direct sound.
        rng: Draws the echo.

    Returns:
        Shape (samples,); the echo beyond the end of the waveform is cut off.
    """
    seconds = np.arange(1, round(decay_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    echo = rng.standard_normal(seconds.size) * 10 ** (-3 * seconds / decay_seconds)
    echo *= np.sqrt(_from_db(echo_db) / np.square(echo).sum())
    response = np.concatenate([[1.0], echo])
    size = _fast_size(waveform.size + response.size - 1)
    mixed = np.fft.irfft(np.fft.rfft(waveform.astype(np.float64), size) * np.fft.rfft(response, size), size)
    return np.asarray(mixed[: waveform.size], dtype=np.float32)


def add_noise(
    waveform: NDArray[np.float32], snr_db: float, slope: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add stationary noise whose power is `snr_db` below the waveform's mean power.

    Args:
        waveform: Mono, shape (samples,), at 16 kHz.
        snr_db: Signal-to-noise ratio over the whole waveform.
        slope: Power falls as 1 / frequency ** slope: 0 is white, 1 is pink.
        rng: Draws the noise.

    Returns:
        Shape (samples,).
    """
    bins = _fast_size(waveform.size) // 2 + 1
    spectrum = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    spectrum *= np.maximum(np.arange(bins, dtype=np.float32), 1) ** (-slope / 2)
    noise = np.fft.irfft(spectrum)[: waveform.size]
    power = np.square(waveform, dtype=np.float64).mean() / _from_db(snr_db)
    return np.asarray(waveform + noise * np.sqrt(power / np.square(noise).mean()), dtype=np.float32)


def _fast_size(samples: int) -> int:
    # Clips can have any length, and an FFT of prime length takes ten times as long.
    return 1 << (samples - 1).bit_length()


def _from_db(level_db: float) -> float:
    return float(10 ** (level_db / 10))


def speak(digit: str, voice: Voice, espeak: Espeak, rng: np.random.Generator) -> NDArray[np.float32]:
    """Speak one digit with slightly varied prosody; mono, shape (samples,), at 16 kHz, without any room."""
    own = voice.prosody
    prosody = Prosody(
        words_per_minute=own.words_per_minute + int(rng.integers(-10, 11)),
        pitch=own.pitch + int(rng.integers(-5, 6)),
        pitch_range=own.pitch_range + int(rng.integers(-10, 11)),
    )
    text = digit + str(rng.choice(["", ".", "!", "?"]))
    speech = espeak.speak(text, voice.accent, voice.variant, prosody, noise_seed=int(rng.integers(2**31)))
    resampled: NDArray[np.float32] = soxr.resample(speech, espeak.sample_rate_hz, SAMPLE_RATE_HZ)
    return resampled


def record(speech: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Simulate a recording of speech in a room: add silence at both ends, echo, noise and a gain; peak below 1."""
    before, after = (rng.uniform(0.03, 0.15, size=2) * SAMPLE_RATE_HZ).astype(int)
    clip = np.pad(speech, (before, after))
    clip = add_echo(clip, decay_seconds=rng.uniform(0.1, 0.3), echo_db=rng.uniform(-20, -8), rng=rng)
    clip = add_noise(clip, snr_db=rng.uniform(10, 35), slope=float(rng.integers(2)), rng=rng)
    peak_db = rng.uniform(-15, -1)
    return np.asarray(clip * (10 ** (peak_db / 20) / np.abs(clip).max()), dtype=np.float32)


def is_spoken(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Return whether `folder` is a finished corpus; it is renamed into place, so its settings prove it complete."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / "settings.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} must hold the sample corpus, but holds something else ({error}). "
            "Delete it or use another folder."
        ) from error
    if found != settings:
        raise StoreError(
            f"{folder} holds a sample corpus with the settings {found}, but {settings} was requested. "
            "Delete it or use another folder."
        )
    return True


def write_corpus(
    folder: Path,
    clips: Iterable[tuple[str, NDArray[np.float32]]],
    rows: Sequence[tuple[str, str, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write a corpus, which appears complete or not at all.

    Args:
        folder: Of the corpus.
        clips: The path of each clip relative to `folder`, and its samples at 16 kHz.
        rows: Of the manifest: path, label and group.
        settings: Of the corpus, by which it is recognized.

    Raises:
        StoreError: `folder` cannot be written, or holds something else.
    """
    try:
        _write_whole(folder, clips, rows, settings)
    except (OSError, soundfile.LibsndfileError) as error:
        raise StoreError(f"the sample corpus cannot be written to {folder}: {error}") from error


def _write_whole(
    folder: Path,
    clips: Iterable[tuple[str, NDArray[np.float32]]],
    rows: Sequence[tuple[str, str, str]],
    settings: Mapping[str, Any],
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as part:
        built = Path(part) / folder.name
        for place in {(built / path).parent for path, _, _ in rows}:
            place.mkdir(parents=True, exist_ok=True)
        for path, clip in clips:
            (built / path).write_bytes(_to_wav(clip))
        _write_manifest(built / "manifest.csv", rows)
        (built / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")
        try:
            built.rename(folder)
        except OSError:
            # Another process may have finished first; its corpus is identical byte for byte.
            if not is_spoken(folder, settings):
                raise


def _to_wav(clip: NDArray[np.float32]) -> bytes:
    # In memory, because soundfile flushes each file to the disk on close, which takes 4 ms per clip.
    file = io.BytesIO()
    soundfile.write(file, clip, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _record_all(takes: list[Take], seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    with Espeak() as espeak:
        for index, take in enumerate(takes):
            rng = np.random.default_rng([seed, 2, index])
            yield take.path, record(speak(take.label, take.voice, espeak, rng), rng)


def _write_manifest(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "group"])
        writer.writerows(sorted(rows))
