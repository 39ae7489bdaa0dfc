#!/usr/bin/env python3
"""Measure how well near-duplicates are found, with planted copies of real recordings.

    python benchmarks/near_duplicates.py data/phrases/manifest.csv [COPIES_OF_EACH_KIND] [--pairs]
    python benchmarks/near_duplicates.py made [SOUNDS_OF_EACH_KIND]
    python benchmarks/near_duplicates.py growth [CLIPS ...]

`made` searches synthetic sounds of different content, one corpus per kind, with copies of 20 of each. `growth` times
the search among 0.25 s clips: noise, copies of one clip, and tones, which are all similar. The manifest is a CSV with a
column `path`; `make phrases` and `make letters` fetch two corpora. The thresholds of near_duplicates/alignment.py were
chosen on the letters, so the phrases are the test. Prints a Markdown table and one JSON line:

recall       by kind of copy: the fraction linked to its original, directly or through other copies, as in a split
precision    by kind of copy: the fraction of the pairs with such a copy that hold the same recording; null: no pairs.
             Pairs whose originals are also found as a pair are excluded
retakes      not copies: the same clip 5 % faster or slower, like a second take; the fraction reported as a copy
unplanted    pairs among the originals; --pairs prints them for listening
seconds      on one core. fingerprints: their first computation; search: everything after that
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.sparse.csgraph
import soundfile
import soxr
from made_sounds import MADE
from numpy.typing import NDArray

from audiocls.near_duplicates.fingerprints import fingerprint_clips
from audiocls.near_duplicates.pairs import search
from audiocls.params.data import TableData
from audiocls.params.run import AudioParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

Signal = NDArray[np.float32]
Encoded = tuple[str, bytes]  # the file's suffix and its bytes
LEAST_SECONDS = 0.3
MADE_KINDS = ("mp3", "ogg vorbis", "8 kHz", "gain", "trimmed", "padded", "noise at 20 dB")
RETAKES = "retakes"


def encode(signal: Signal, rate_hz: int, suffix: str, container: str, subtype: str, compression: float) -> Encoded:
    """Write a file into memory; `compression` is libsndfile's, 0 to 1, and stands for the bit rate."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, 1, subtype, format=container, compression_level=compression) as opened:
        opened.write(np.clip(signal, -1, 1))
    return suffix, file.getvalue()


def as_wav(signal: Signal, rate_hz: int) -> Encoded:
    """Write 16-bit WAV."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(signal, -1, 1), rate_hz, format="WAV", subtype="PCM_16")
    return ".wav", file.getvalue()


def cut(signal: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Cut up to 0.3 s, and up to a quarter, off either end."""
    head, tail = (int(min(rng.uniform(0.05, 0.3) * rate_hz, len(signal) / 4)) for _ in range(2))
    return signal[head : len(signal) - tail]


def padded(signal: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Put up to 0.5 s of digital silence before and after."""
    return np.pad(signal, [int(rng.uniform(0.05, 0.5) * rate_hz) for _ in range(2)])


def louder(signal: Signal, rng: np.random.Generator) -> Signal:
    """Change the gain by -20 to +3 dB."""
    return signal * np.float32(10 ** (rng.uniform(-20, 3) / 20))


def noisy(signal: Signal, rng: np.random.Generator, snr_db: float = 20) -> Signal:
    """Add white noise."""
    return (signal + rng.normal(0, 10 ** (-snr_db / 20) * np.sqrt(np.mean(np.square(signal))), len(signal))).astype(
        np.float32
    )


def resampled(signal: Signal, rate_hz: int, through_hz: int) -> Signal:
    """Resample to another rate and back."""
    return soxr.resample(soxr.resample(signal, rate_hz, through_hz), through_hz, rate_hz).astype(np.float32)


def faster(signal: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Change speed and pitch by 5 %."""
    return soxr.resample(signal, rate_hz, rate_hz * rng.choice([0.95, 1.05])).astype(np.float32)


def mp3(signal: Signal, rate_hz: int) -> Encoded:
    """Encode as MP3 at about the lowest rate there is."""
    return encode(signal, rate_hz, ".mp3", "MP3", "MPEG_LAYER_III", 0.95)


def all_at_once(signal: Signal, rate_hz: int, rng: np.random.Generator) -> Encoded:
    """Change the gain, add noise, cut, and encode as MP3."""
    return mp3(cut(noisy(louder(signal, rng), rng), rate_hz, rng), rate_hz)


def delayed(signal: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Start up to 0.1 s later or earlier, at the same length."""
    shift = int(rng.uniform(-0.1, 0.1) * rate_hz)
    return np.pad(signal, (max(0, shift), max(0, -shift)))[max(0, -shift) :][: len(signal)]


def rated(signal: Signal, rate_hz: int, other_hz: int) -> Encoded:
    """Write at another rate."""
    return as_wav(soxr.resample(signal, rate_hz, other_hz), other_hz)


KINDS: dict[str, Callable[[Signal, int, np.random.Generator], Encoded]] = {
    "ogg vorbis": lambda x, hz, rng: encode(x, hz, ".ogg", "OGG", "VORBIS", 0.95),
    "opus": lambda x, hz, rng: encode(x, hz, ".opus", "OGG", "OPUS", 0.98),
    "mp3": lambda x, hz, rng: mp3(x, hz),
    "8 kHz and back": lambda x, hz, rng: as_wav(resampled(x, hz, 8_000), hz),
    "8 kHz": lambda x, hz, rng: rated(x, hz, 8_000),
    "11,025 Hz": lambda x, hz, rng: rated(x, hz, 11_025),
    "22,050 Hz": lambda x, hz, rng: rated(x, hz, 22_050),
    "44.1 kHz": lambda x, hz, rng: rated(x, hz, 44_100),
    "gain": lambda x, hz, rng: as_wav(louder(x, rng), hz),
    "constant offset of 0.1": lambda x, hz, rng: as_wav(np.float32(0.8) * x + np.float32(0.1), hz),
    "time offset": lambda x, hz, rng: as_wav(delayed(x, hz, rng), hz),
    "trimmed": lambda x, hz, rng: as_wav(cut(x, hz, rng), hz),
    "padded": lambda x, hz, rng: as_wav(padded(x, hz, rng), hz),
    "noise at 30 dB": lambda x, hz, rng: as_wav(noisy(x, rng, 30), hz),
    "noise at 20 dB": lambda x, hz, rng: as_wav(noisy(x, rng), hz),
    "noise at 10 dB": lambda x, hz, rng: as_wav(noisy(x, rng, 10), hz),
    "all at once": all_at_once,
    RETAKES: lambda x, hz, rng: as_wav(faster(x, hz, rng), hz),
}


def main(arguments: list[str]) -> int:
    """Plant, look, and print."""
    numbers = [int(word) for word in arguments[1:] if word.isdigit()]
    if arguments[:1] == ["made"]:
        return show_made(numbers[0] if numbers else 60)
    if arguments[:1] == ["growth"]:
        return show_growth(numbers or [1_000, 4_000, 16_000])
    if not arguments or not Path(arguments[0]).is_file():
        sys.stderr.write("usage: near_duplicates.py MANIFEST.csv|made|growth [NUMBER ...] [--pairs]\n")
        return 2
    pairs, clips, more = measured(Path(arguments[0]).resolve(), numbers[0] if numbers else 100)
    if "--pairs" in arguments:
        shown = pairs[pairs["origin_a"] != pairs["origin_b"]].sort_values("similarity")
        sys.stderr.write(shown[["clip_a", "clip_b", "similarity", "overlap"]].to_string() + "\n")
    result = scores(pairs, clips)
    table = pd.DataFrame({name: result[name] for name in ("recall", "precision")}).rename_axis("change")
    sys.stdout.write(markdown(table.reset_index()))
    sys.stdout.write(json.dumps(result | more) + "\n")
    return 0


def measured(manifest: Path, copies: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, object]]:
    """Return the pairs that were found, all clips, bit rates and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        rates = plant(manifest, Path(folder), copies)
        found, clips, seconds = look(Path(folder))
    return judged(found, clips), clips, {"kbit_per_second": rates, "seconds": seconds}


def markdown(table: pd.DataFrame) -> str:
    """Write a table with its columns' names on top."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(object).to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def show_made(count: int) -> int:
    """Print, by kind of made sound, the false pairs among different ones and what is found of their copies."""
    rows = []
    for kind, make in MADE.items():
        with tempfile.TemporaryDirectory() as folder:
            sounds = [make(np.random.default_rng([i, 7])).astype(np.float32) for i in range(count)]
            pairs, clips, _ = measured(write_sounds(sounds, Path(folder)), 20)
        result = scores(pairs, clips)
        recall = {name: result["recall"][name] for name in MADE_KINDS}
        rows.append({"sound": kind, "false pairs": result["unplanted"], **recall})
    sys.stdout.write(markdown(pd.DataFrame(rows)))
    sys.stdout.write(json.dumps({"sounds_of_each_kind": count, "kinds": rows}) + "\n")
    return 0


def write_sounds(sounds: list[Signal], folder: Path) -> Path:
    """Write sounds and their manifest."""
    names = [f"{i}.wav" for i in range(len(sounds))]
    for name, sound in zip(names, sounds, strict=True):
        (folder / name).write_bytes(as_wav(sound, 16_000)[1])
    pd.DataFrame({"path": names}).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def show_growth(counts: list[int]) -> int:
    """Print the seconds of one core among growing numbers of clips."""
    rows = []
    time_s, base = np.arange(4_000) / 16_000, np.random.default_rng(0).normal(0, 0.2, 4_000)
    kinds: dict[str, Callable[[np.random.Generator], NDArray[np.float64]]] = {
        "noise": lambda rng: rng.normal(0, 0.2, 4_000),
        "copies of one clip": lambda rng: base + rng.normal(0, 0.01, 4_000),
        "tones": lambda rng: 0.5 * np.sin(2 * np.pi * rng.uniform(3_800, 7_000) * time_s),
    }
    for kind, make in kinds.items():
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                sounds = [make(np.random.default_rng([i, 7])).astype(np.float32) for i in range(count)]
                manifest = write_sounds(sounds, Path(folder))
                (home := manifest.parent / "work").mkdir()
                plant(manifest, home, 0)
                found, _, seconds = look(home)
            rows.append({"clips": f"{count:,}", "of": kind, "pairs": len(found), **seconds})
            sys.stderr.write(f"{rows[-1]}\n")
    sys.stdout.write(markdown(pd.DataFrame(rows)))
    sys.stdout.write(json.dumps({"growth": rows}) + "\n")
    return 0


def plant(manifest: Path, home: Path, copies: int) -> dict[str, int]:
    """Write a manifest of all originals and of copies; return the bit rate of the codecs."""
    rng = np.random.default_rng(0)
    paths = [manifest.parent / path for path in pd.read_csv(manifest)["path"]]
    rows = [(str(path), str(path), "original") for path in paths]
    usable = [path for path in paths if is_usable(path)] if copies else []
    sizes: dict[str, list[float]] = {}
    (home / "copies").mkdir()
    for kind, make in KINDS.items():
        for i, k in enumerate(rng.permutation(len(usable))[:copies]):
            channels, rate_hz = soundfile.read(usable[k], dtype="float32", always_2d=True)
            suffix, content = make(to_16_khz(channels.mean(axis=1), rate_hz), 16_000, rng)
            copy = home / "copies" / f"{kind}-{i}{suffix}"
            copy.write_bytes(content)
            rows.append((str(copy), str(usable[k]), kind))
            if suffix != ".wav":
                sizes.setdefault(kind, []).append(len(content) * 8e-3 * rate_hz / len(channels))
    pd.DataFrame(rows, columns=["path", "label", "group"]).to_csv(home / "manifest.csv", index=False)
    return {kind: round(float(np.median(values))) for kind, values in sizes.items()}


def to_16_khz(signal: Signal, rate_hz: int) -> Signal:
    """Bring originals of all rates to one, which no codec refuses."""
    return soxr.resample(signal, rate_hz, 16_000).astype(np.float32)


def is_usable(path: Path) -> bool:
    """Whether a recording is long and loud enough to be copied."""
    try:
        signal, rate_hz = soundfile.read(path, dtype="float32")
    except soundfile.SoundFileError:
        return False
    return len(signal) >= LEAST_SECONDS * rate_hz and float(np.abs(signal).max()) > 0.01


def look(home: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Fill a store, and find near-duplicates in it as every training does."""
    audio = AudioParams()
    data = TableData(source="table", path=home / "manifest.csv", group_column="group")
    manifest = list_clips(data, home)
    plan = plan_store(manifest, audio, home)
    for shard in plan.shards:
        write_shard(shard, audio)
    clips = pd.read_parquet(collect_corpus(manifest, plan, home).clips)
    recordings = clips.drop_duplicates("audio_hash", ignore_index=True)
    started = time.process_time()
    fingerprint_clips(recordings, plan.store, audio.sample_rate_hz)
    between = time.process_time()
    found = search(recordings, plan.store, audio.sample_rate_hz)
    seconds = {"fingerprints": round(between - started, 1), "search": round(time.process_time() - between, 1)}
    return found, clips, seconds


def judged(found: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Name the clips, the originals and the kinds of each pair."""
    first = clips.drop_duplicates("audio_hash").set_index("audio_hash")
    # Originals with the same samples are one origin.
    by_path = clips.drop_duplicates("path").set_index("path")["audio_hash"]
    pairs = found.copy()
    for side in "ab":
        rows = first.loc[pairs[f"audio_hash_{side}"]]
        pairs[f"clip_{side}"] = rows["clip_id"].to_numpy()
        pairs[f"kind_{side}"] = rows["group"].to_numpy()
        pairs[f"origin_{side}"] = by_path.reindex(rows["label"]).to_numpy()
    return pairs


def scores(pairs: pd.DataFrame, clips: pd.DataFrame) -> dict[str, Any]:
    """Count what was found of each kind, and what should not have been."""
    recall, precision = {}, {}
    planted_none = (pairs["kind_a"] == "original") & (pairs["kind_b"] == "original")
    families = family_of(pairs[planted_none])
    alike = (pairs["origin_a"] != pairs["origin_b"]) & (
        pairs["origin_a"].replace(families) == pairs["origin_b"].replace(families)
    )
    linked = linked_to_originals(pairs)
    for kind in KINDS:
        planted = clips[clips["group"] == kind]["audio_hash"]
        mine = (pairs["kind_a"] == kind) | (pairs["kind_b"] == kind)
        right = pairs["origin_a"] == pairs["origin_b"]
        counted = mine & ~alike
        found = planted.isin(linked)
        recall[kind] = round(float(found.mean()), 3)
        precision[kind] = round(float(right[counted].mean()), 3) if counted.any() else None
    retakes = recall.pop(RETAKES)
    precision.pop(RETAKES)
    return {
        "clips": len(clips),
        "recall": recall,
        "precision": precision,
        "retakes": retakes,
        "unplanted": int(planted_none.sum()),
    }


def linked_to_originals(pairs: pd.DataFrame) -> set[str]:
    """Return the hashes of what right pairs link to its original, directly or by other copies of it."""
    right = pairs[pairs["origin_a"] == pairs["origin_b"]]
    linked = {*right.loc[right["kind_a"] == "original", "audio_hash_a"]}
    linked |= {*right.loc[right["kind_b"] == "original", "audio_hash_b"]}
    before = 0
    while len(linked) > before:
        before = len(linked)
        near = right[right["audio_hash_a"].isin(linked) | right["audio_hash_b"].isin(linked)]
        linked |= {*near["audio_hash_a"], *near["audio_hash_b"]}
    return linked


def family_of(pairs: pd.DataFrame) -> dict[str, str]:
    """Map each original that has near-duplicates to one name for all that are linked."""
    names, codes = np.unique(pairs[["origin_a", "origin_b"]].to_numpy(dtype=object), return_inverse=True)
    first, second = codes.reshape(-1, 2).T
    edges = scipy.sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    _, family = scipy.sparse.csgraph.connected_components(edges, directed=False)
    return {str(name): f"family {number}" for name, number in zip(names, family, strict=True)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
