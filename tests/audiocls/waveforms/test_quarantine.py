"""Every way in which a file cannot be used, as a real file, through listing, the store and the corpus."""

from __future__ import annotations

import numpy as np
import pytest

from audiocls.params.data import FolderData
from audiocls.params.run import AudioParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus, quarantined

PARAMS = AudioParams(max_file_seconds=2.0)
FAULTS: dict[str, tuple[str, str]] = {
    "x/truncated.flac": ("truncated", "the header declares"),
    "x/truncated.wav": ("truncated", "the header declares 0.200 s, but the file has 0.100 s"),
    "x/header.wav": ("unreadable", "No 'data' chunk marker"),
    "x/zero_bytes.wav": ("empty", "the file has no bytes"),
    "x/zero_frames.wav": ("empty", "a header but no samples"),
    "x/text.wav": ("unreadable", "Format not recognised"),
    "x/nan.wav": ("non_finite", "1 of 3200 frames"),
    "x/infinite.wav": ("non_finite", "2 of 3200 frames"),
    "x/zeros.wav": ("silent", "audio.silence_db"),
    "x/short.wav": ("too_short", "0.020 s, and audio.min_seconds is 0.05"),
    "x/long.wav": ("too_long", "2.5 s, and audio.max_file_seconds is 2"),
    "x/broken_link.wav": ("missing", "a link to nowhere.wav, which does not exist"),
    "x/film.m4a": ("unreadable", "MP4"),
    "stray.wav": ("unlabelled", "the source gives no label"),
}


@pytest.fixture
def write(tmp_path):
    """A function that writes a file below the folder of recordings."""

    def written(name, content):
        path = tmp_path / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return written


@pytest.fixture
def corpus_of(list_table, fill_store, tmp_path):
    """A function that makes the corpus of a manifest."""

    def made(manifest):
        return collect_corpus(manifest, fill_store(manifest, tmp_path, PARAMS), tmp_path)

    return made


def reasons(corpus):
    return {row["clip_id"]: (row["reason"], row["detail"]) for row in quarantined(corpus, 1_000)}


def test_every_fault_has_its_reason_and_good_files_come_through(write, tone, encode, corpus_of, tmp_path):
    good = tone(440, 0.2)
    nan, infinite = good.copy(), good.copy()
    nan[5], infinite[[5, 9]] = np.nan, (np.inf, -np.inf)
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    flac = encode(noise, container="FLAC")
    contents = {
        "x/truncated.flac": flac[: len(flac) // 2],
        "x/truncated.wav": encode(good)[: 44 + 3_200],
        "x/header.wav": encode(good)[:24],
        "x/zero_bytes.wav": b"",
        "x/zero_frames.wav": encode(good[:0]),
        "x/text.wav": b"This is a text that somebody named text.wav\n",
        "x/nan.wav": encode(nan, subtype="FLOAT"),
        "x/infinite.wav": encode(infinite, subtype="FLOAT"),
        "x/zeros.wav": encode(0 * good),
        "x/short.wav": encode(good[:320]),
        "x/long.wav": encode(tone(440, 2.5)),
        "x/film.m4a": b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00" + bytes(99),
        "stray.wav": encode(tone(500, 0.2)),
        "x/good.wav": encode(good),
        "x/flac_named.wav": encode(tone(600, 0.2), container="FLAC"),
        "x/wav_named.mp3": encode(tone(700, 0.2)),
    }
    for name, content in contents.items():
        write(name, content)
    (tmp_path / "recordings" / "x" / "broken_link.wav").symlink_to("nowhere.wav")
    corpus = corpus_of(list_clips(FolderData(source="folder", path=tmp_path / "recordings"), tmp_path))
    found = reasons(corpus)
    assert {name: reason for name, (reason, _) in found.items()} == {
        name: reason for name, (reason, _) in FAULTS.items()
    }
    for name, (_, detail) in FAULTS.items():
        assert detail in found[name][1], (name, found[name])
    assert corpus.num_clips == 3


def test_a_directory_with_the_name_of_a_recording_is_not_a_file(write, encode, tone, list_table, corpus_of, tmp_path):
    (tmp_path / "a.wav").mkdir()
    assert reasons(corpus_of(list_table(tmp_path, [("a.wav", "x")]))) == {"a.wav": ("not_a_file", "a directory")}


def test_a_directory_with_the_name_of_a_recording_is_a_class_in_a_folder(write, encode, tone, corpus_of, tmp_path):
    write("a.wav/b.wav", encode(tone(440, 0.2)))
    corpus = corpus_of(list_clips(FolderData(source="folder", path=tmp_path / "recordings"), tmp_path))
    assert (corpus.num_clips, corpus.num_quarantined) == (1, 0)


def test_rows_without_a_file_or_a_label_keep_their_reasons(write, encode, tone, list_table, corpus_of, tmp_path):
    path = write("a.wav", encode(tone(440, 0.2)))
    rows = [(path, "x"), (path, None), (path, " \t"), ("gone.wav", "x")]
    corpus = corpus_of(list_table(tmp_path, rows))
    found = sorted(reason for reason, _ in reasons(corpus).values())
    assert found == ["missing", "unlabelled", "unlabelled"]
    assert corpus.num_clips == 1


def test_a_file_that_may_not_be_read_is_unreadable(write, encode, tone, list_table, corpus_of, forbid, tmp_path):
    path = write("a.wav", encode(tone(440, 0.2)))
    forbid(path)
    assert reasons(corpus_of(list_table(tmp_path, [(path, "x")]))) == {str(path): ("unreadable", "Permission denied")}
