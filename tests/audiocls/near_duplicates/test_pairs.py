from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.ndimage
import scipy.signal
import soundfile
import soxr
from recorded_bars import RecordedBars

from audiocls.errors import LeakageError, StoreError
from audiocls.near_duplicates.alignment import compare
from audiocls.near_duplicates.fingerprints import MOST_ANCHORS, Fingerprints, fingerprint, fingerprint_clips
from audiocls.near_duplicates.neighbours import cells, propose
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.run import SplitParams
from audiocls.progress import shown_on
from audiocls.splits.assignment import assign_splits
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000


def voice(seed, seconds=0.8, faster=1.0, take=None):
    """Syllables of a voice: harmonics of a wandering pitch under wandering formants, and a little breath.

    Another `take` says the same with a pitch of its own; `faster` plays it at another speed.
    """
    rng, own = np.random.default_rng(seed), np.random.default_rng([seed, take or 0])
    count = round(seconds * RATE_HZ)
    position = np.arange(count) * faster

    def wander(rng, step_seconds):
        knots = rng.normal(size=round(seconds / step_seconds) + 6)
        knots = scipy.ndimage.gaussian_filter1d(knots, 0.7) / 0.6
        return np.interp(position, np.arange(len(knots)) * step_seconds * RATE_HZ, knots)

    hz = 130 * 2 ** (0.25 * wander(own, 0.1) + own.uniform(-0.4, 0.4))
    phase = 2 * np.pi * np.cumsum(hz * faster) / RATE_HZ
    formants = [base * 2 ** (0.3 * wander(rng, 0.08)) for base in (500, 1_500, 2_600)]
    signal = np.zeros(count)
    for harmonic in range(1, 28):
        gain = sum(np.exp(-(((harmonic * hz - f) / 150) ** 2)) / (i + 1) for i, f in enumerate(formants))
        signal += (gain + 0.01) * np.sin(harmonic * phase)
    loudness = np.exp(1.2 * wander(rng, 0.12)) * np.hanning(count) ** 0.3
    signal = signal * loudness / np.abs(signal * loudness).max()
    return (0.5 * signal + own.normal(0, 0.003, count)).astype(np.float32)


def recoded(signal, container, subtype, path, rate_hz=RATE_HZ, compression=0.9):
    with soundfile.SoundFile(path, "w", rate_hz, 1, subtype, format=container, compression_level=compression) as file:
        file.write(signal)


KINDS = {
    "ogg": lambda x, path: recoded(x, "OGG", "VORBIS", path),
    "opus": lambda x, path: recoded(x, "OGG", "OPUS", path),
    "mp3": lambda x, path: recoded(x, "MP3", "MPEG_LAYER_III", path),
    "telephone": lambda x, path: soundfile.write(path, soxr.resample(x, RATE_HZ, 8_000), 8_000, format="WAV"),
    "odd rate": lambda x, path: soundfile.write(path, soxr.resample(x, RATE_HZ, 22_254), 22_254, format="WAV"),
    "offset": lambda x, path: soundfile.write(path, 0.02 * x + 0.4, RATE_HZ, format="WAV"),
    "quiet": lambda x, path: soundfile.write(path, 0.05 * x, RATE_HZ, format="WAV"),
    "upside down": lambda x, path: soundfile.write(path, -x, RATE_HZ, format="WAV"),
    "trimmed": lambda x, path: soundfile.write(path, x[3_001:-2_500], RATE_HZ, format="WAV"),
    "padded": lambda x, path: soundfile.write(path, np.pad(x, (4_321, 6_000)), RATE_HZ, format="WAV"),
    "noisy": lambda x, path: soundfile.write(
        path, x + np.random.default_rng(0).normal(0, 0.1 * x.std(), len(x)), RATE_HZ, format="WAV"
    ),
}


@pytest.fixture
def corpus_of(list_table, fill_store):
    """A function that makes a corpus of files."""

    def collect(workspace, paths):
        manifest = list_table(workspace, [(str(path), "x") for path in paths])
        return collect_corpus(manifest, fill_store(manifest, workspace), workspace)

    return collect


def found_in(corpus):
    """The near-duplicates, by the names of the files."""
    clips = pd.read_parquet(corpus.clips)
    names = dict(zip(clips["audio_hash"], clips["path"].str.rsplit("/", n=1).str[-1], strict=True))
    pairs = pd.read_parquet(find_near_duplicates(corpus.clips, corpus.store))
    return {frozenset((names[p.audio_hash_a], names[p.audio_hash_b])): p for p in pairs.itertuples()}


def write_all(folder, signals):
    folder.mkdir(exist_ok=True)
    for name, signal in signals.items():
        soundfile.write(folder / name, signal, RATE_HZ, format="WAV")
    return sorted(folder.iterdir())


def test_copies_of_every_kind_are_found_and_nothing_else_is(tmp_path, corpus_of):
    folder = tmp_path / "clips"
    write_all(folder, {f"other-{i}": voice(100 + i) for i in range(12)})
    for i, (kind, make) in enumerate(KINDS.items()):
        soundfile.write(folder / f"{kind}-original", voice(i), RATE_HZ, format="WAV")
        make(voice(i), folder / f"{kind}-copy")
    found = found_in(corpus_of(tmp_path, sorted(folder.iterdir())))
    assert set(found) == {frozenset((f"{kind}-original", f"{kind}-copy")) for kind in KINDS}
    assert all(pair.similarity > 0.75 for pair in found.values())


def test_the_bars_count_clips_and_then_pairs(tmp_path, corpus_of):
    signals = {f"{i}.wav": voice(i, 0.3) for i in range(4)} | {"copy.wav": 0.5 * voice(0, 0.3)}
    corpus = corpus_of(tmp_path, write_all(tmp_path / "clips", signals))
    bars = RecordedBars()
    with shown_on(bars):
        table = find_near_duplicates(corpus.clips, corpus.store)
    fingerprinting, comparing = bars.bars
    assert (fingerprinting.unit, fingerprinting.total, fingerprinting.done) == ("clips", 5, 5)
    assert comparing.unit == "pairs"
    assert comparing.done == comparing.total >= len(pd.read_parquet(table)) == 1


def test_a_clip_of_a_third_of_a_second_is_enough(tmp_path, corpus_of):
    folder = tmp_path / "clips"
    paths = write_all(folder, {f"short-{i}": voice(i, 0.3) for i in range(6)})
    recoded(voice(0, 0.3), "MP3", "MPEG_LAYER_III", folder / "copy")
    assert set(found_in(corpus_of(tmp_path, [*paths, folder / "copy"]))) == {frozenset(("short-0", "copy"))}


def test_other_takes_and_other_speeds_are_no_copies(tmp_path, corpus_of):
    takes = {f"take-{i}": voice(7, take=i) for i in range(6)}
    speeds = {f"speed-{i}": voice(8, faster=1 + 0.04 * i) for i in range(4)}
    assert found_in(corpus_of(tmp_path, write_all(tmp_path / "clips", takes | speeds))) == {}


def test_copies_are_one_unit_however_many_there_are_of_one_encoding(tmp_path, corpus_of):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(7):
        signal = voice(4, 0.3) * np.float32(0.9 - 0.01 * i)
        recoded(signal, "MP3", "MPEG_LAYER_III", folder / f"{i}.mp3", compression=0.95)
        recoded(soxr.resample(signal, RATE_HZ, 8_000), "OGG", "VORBIS", folder / f"{i}.ogg", 8_000, compression=0.5)
    linked = {min(folder.iterdir()).name}
    pairs = set(found_in(corpus_of(tmp_path, sorted(folder.iterdir()))))
    for _ in range(14):
        linked |= {name for pair in pairs if pair & linked for name in pair}
    assert len(linked) == 14


def test_neighbours_in_the_same_file_do_not_hide_those_in_others():
    rng = np.random.default_rng(0)
    one = rng.normal(size=120)
    close = one + 0.01 * rng.normal(size=(20, 120))
    vectors = np.concatenate([close, [one + 0.2 * rng.normal(size=120)]]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = Fingerprints(np.arange(21), np.zeros(21), vectors)
    proposals = propose(found, sources=np.array([0] * 20 + [1]))
    assert proposals.a.tolist() == list(range(20))
    assert set(proposals.b) == {20}


@pytest.mark.parametrize("vectors", ["alike", "apart"])
def test_the_work_on_anchors_does_not_grow_quadratically(vectors):
    rng = np.random.default_rng(0)
    count = 40_000
    table = rng.normal(size=(1 if vectors == "alike" else count, 8)).astype(np.float32)
    sizes = [len(cell) for cell in cells(np.broadcast_to(table, (count, 8)), np.arange(count), rng)]
    assert max(sizes) <= 2_048
    assert count <= sum(sizes) <= 6 * count


TIME = np.arange(RATE_HZ // 2) / RATE_HZ


def chirp(rng):
    return 0.5 * scipy.signal.chirp(TIME, *[rng.uniform(3_500, 7_600), TIME[-1], rng.uniform(3_500, 7_600)])


def click(rng):
    seconds = TIME[:200]
    sound = np.exp(-seconds * rng.uniform(200, 1_000)) * np.sin(2 * np.pi * rng.uniform(300, 6_000) * seconds)
    return np.pad(sound, [rng.integers(500, 4_000), 4_000])


def impulse(rng):
    return np.where(np.arange(len(TIME)) == rng.integers(100, 7_900), 0.9, 0)


def tone(rng):
    return 0.5 * np.sin(2 * np.pi * rng.uniform(100, 7_000) * TIME + rng.uniform(0, 6))


def kick(rng):
    hz = rng.uniform(40, 70) + rng.uniform(100, 400) * np.exp(-TIME * rng.uniform(20, 60))
    return np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ) * np.exp(-TIME * rng.uniform(6, 20))


def hat(rng):
    filtered = scipy.signal.sosfilt(HIGH, rng.normal(size=len(TIME)))
    return 0.4 * filtered * np.exp(-TIME * rng.uniform(10, 60))


def plucked(rng):
    hz, harmonics = 440 * 2 ** (rng.integers(-12, 12) / 12), np.arange(1, 8)[:, None]
    waves = np.sin(2 * np.pi * hz * harmonics * TIME + rng.uniform(0, 6, (7, 1))) / harmonics
    return 0.2 * waves.sum(axis=0) * np.exp(-TIME * rng.uniform(3, 15))


def gated(rng):
    return np.pad(plucked(rng)[: rng.integers(2_000, 6_000)], rng.integers(500, 3_000, 2))


def burst(rng):
    return np.pad(0.3 * rng.normal(size=rng.integers(1_000, 4_000)), rng.integers(500, 3_000, 2))


HIGH = scipy.signal.butter(4, 5_000, "high", fs=RATE_HZ, output="sos")
MADE = [chirp, click, impulse, tone, kick, hat, plucked, gated, burst]


@pytest.mark.parametrize("make", MADE)
def test_made_sounds_of_different_content_are_no_copies(make, tmp_path, corpus_of):
    sounds = {f"{i}": make(np.random.default_rng(i)) for i in range(40)}
    assert found_in(corpus_of(tmp_path, write_all(tmp_path / "clips", sounds))) == {}


@pytest.mark.parametrize("make", [kick, hat, burst])
def test_copies_of_drums_and_noise_are_found_all_the_same(make, tmp_path, corpus_of):
    folder = tmp_path / "clips"
    sounds = [make(np.random.default_rng(i)) for i in range(8)]
    write_all(folder, {f"{i}-original": sound for i, sound in enumerate(sounds)})
    for i, sound in enumerate(sounds):
        recoded(0.5 * sound, "OGG", "VORBIS", folder / f"{i}-copy", compression=0.5)
    found = found_in(corpus_of(tmp_path, sorted(folder.iterdir())))
    assert set(found) == {frozenset((f"{i}-original", f"{i}-copy")) for i in range(8)}


def test_hums_and_tones_are_not_taken_for_copies_of_each_other(tmp_path, corpus_of):
    rng = np.random.default_rng(0)
    time = np.arange(RATE_HZ) / RATE_HZ
    hums = {
        f"hum-{i}": sum(np.sin(2 * np.pi * hz * (time + i / 7)) for hz in (200, 400, 1_000)) / 8
        + rng.normal(0, 0.01, RATE_HZ)
        for i in range(8)
    }
    assert found_in(corpus_of(tmp_path, write_all(tmp_path / "clips", hums))) == {}


def test_where_the_second_starts_in_the_first_is_measured():
    whole = voice(3, 1.0)
    match = compare(whole, whole[2_000:12_000], 0.11, RATE_HZ)  # 0.125 s, and the guess is a little off
    assert match.shift_seconds == pytest.approx(0.125, abs=1e-4)
    assert match.similarity > 0.97
    assert match.overlap == pytest.approx(1, abs=1e-3)
    assert match.is_copy


def test_two_clips_that_share_their_edges_alone_are_no_copies():
    shared = voice(3, 0.2)
    match = compare(np.append(voice(4, 0.6), shared), np.append(shared, voice(5, 0.6)), 0.6, RATE_HZ)
    assert match.similarity > 0.97
    assert match.overlap < 0.5
    assert not match.is_copy


def test_a_fingerprint_does_not_know_the_gain_and_has_an_end():
    loud = voice(5, 1.0)
    anchors, vectors = fingerprint(loud, RATE_HZ)
    again, same = fingerprint(np.float32(0.01) * loud, RATE_HZ)
    np.testing.assert_array_equal(anchors, again)
    assert np.abs(vectors.astype(int) - same).max() <= 1
    assert len(fingerprint(np.tile(loud, 2 * MOST_ANCHORS), RATE_HZ)[0]) == MOST_ANCHORS
    assert len(fingerprint(loud[:20], RATE_HZ)[0]) == 1


def test_only_new_clips_are_fingerprinted_and_a_damaged_file_is_named(tmp_path, corpus_of):
    folder = tmp_path / "clips"
    paths = write_all(folder, {f"{i}.wav": voice(i, 0.3) for i in range(3)})
    find_near_duplicates(corpus_of(tmp_path, paths[:2]).clips, corpus_of(tmp_path, paths[:2]).store)
    corpus = corpus_of(tmp_path, paths)
    clips = pd.read_parquet(corpus.clips)
    both = fingerprint_clips(clips, corpus.store, RATE_HZ)
    files = sorted(corpus.store.glob("fingerprints-*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    assert [pq.read_metadata(path).num_rows for path in files] == [2, 1]
    assert set(both.clip) == {0, 1, 2}
    np.testing.assert_allclose(np.linalg.norm(both.vectors, axis=1), 1, rtol=1e-6)
    files[0].write_bytes(b"no parquet")
    with pytest.raises(StoreError, match=files[0].name):
        fingerprint_clips(clips, corpus.store, RATE_HZ)


def test_neighbours_are_found_though_all_are_sorted_into_cells():
    rng = np.random.default_rng(0)
    count = 3_000
    first = rng.normal(size=(count, 120))
    vectors = np.concatenate([first, first + 0.3 * rng.normal(size=first.shape)]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = propose(Fingerprints(np.arange(2 * count), np.arange(2 * count) / 10, vectors))
    assert (found.b == found.a + count).all()
    assert len(found.a) >= 0.98 * count
    np.testing.assert_allclose(found.seconds_b - found.seconds_a, count / 10)


@pytest.fixture
def split(tmp_path):
    """A function that splits clips of a table, with clips 0 and 1 as near-duplicates, and returns the splits."""

    def split(params, given):
        labels = [("x", "y")[i % 2] for i in range(len(given))]
        hashes = [str(i) for i in range(len(given))]
        table = pd.DataFrame({"clip_id": hashes, "group": hashes, "audio_hash": hashes, "label": labels})
        near = pd.DataFrame({"audio_hash_a": ["0"], "audio_hash_b": ["1"], "similarity": [0.9]})
        clips, pairs = tmp_path / "corpus" / "clips.parquet", tmp_path / "near.parquet"
        clips.parent.mkdir(exist_ok=True)
        table.assign(split=given).to_parquet(clips)
        near.to_parquet(pairs)
        path = assign_splits(clips, SplitParams(**params), 0, tmp_path, near_duplicates=pairs)
        return pd.read_parquet(path)["split"].tolist()

    return split


GIVEN = ["train", "test", "validation", "validation", *["test"] * 4, *["train"] * 4]


def test_near_duplicates_across_a_given_split_stop_it_unless_told_otherwise(split):
    with pytest.raises(LeakageError, match=r"0 \(train\) ~ 1 \(test\), similarity 0\.90"):
        split({}, GIVEN)
    assert split({"near_duplicates": "ignore"}, GIVEN) == GIVEN
    assert split({"near_duplicates": "move"}, GIVEN) == ["train", "train", *GIVEN[2:]]
    with pytest.raises(LeakageError, match="near-duplicates"):
        split({"duplicates": "move"}, GIVEN)


def test_a_split_that_is_made_keeps_near_duplicates_together(split):
    shares = {"test_fraction": 0.3, "validation_fraction": 0.3}
    apart = split(shares | {"near_duplicates": "ignore"}, [None] * 60)
    assert apart[0] != apart[1]  # or the seed would prove nothing
    together = split(shares, [None] * 60)
    assert together[0] == together[1]
