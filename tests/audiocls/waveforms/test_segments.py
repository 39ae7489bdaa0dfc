from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from audiocls import decoding
from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.errors import LeakageError
from audiocls.params.data import TableData
from audiocls.params.run import AudioParams, SplitParams
from audiocls.sources.bounds import read_bounds
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.segments import END_TOLERANCE_SECONDS

RATE_HZ = 16_000


@pytest.fixture
def long_file(tmp_path, tone):
    """Four seconds: a tone, a louder one, silence, and one that is clipped."""
    parts = [tone(300, 1, peak=0.1), tone(500, 1, peak=0.5), np.zeros(RATE_HZ), np.clip(tone(700, 1, peak=4.0), -1, 1)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts).astype(np.float32), RATE_HZ, subtype="PCM_16")
    return tmp_path / "long.wav"


@pytest.fixture
def collect(tmp_path, write_csv, fill_store):
    """A function that makes the corpus of a table of segments: clips, and quarantine by the id of the clip."""

    def collected(lines, params=None, **columns):
        text = "path,start,end,label,group,split\n" + "".join(f"{line}\n" for line in lines)
        source = {"source": "table", "start_column": "start", "end_column": "end"}
        listed = list_clips(TableData(path=write_csv(tmp_path, text), **source, **columns), tmp_path)
        corpus = collect_corpus(listed, fill_store(listed, tmp_path, params), tmp_path)
        return corpus, pd.read_parquet(corpus.clips), pd.read_parquet(corpus.quarantine).set_index("clip_id")

    return collected


# Bounds


@pytest.mark.parametrize(
    ("start", "end", "bounds"),
    [
        (None, None, (None, None, "")),
        ("12.5", "14", (12.5, 14.0, "@12.50-14.00")),
        (None, "1.25", (0.0, 1.25, "@0.00-1.25")),
        ("3", None, (3.0, None, "@3.00-end")),
        ("0.125", "1e1", (0.125, 10.0, "@0.125-10.00")),
        ("0", "0.0001", (0.0, 0.0001, "@0.00-0.0001")),
    ],
)
def test_an_empty_cell_is_the_start_or_the_end_of_the_file(start, end, bounds):
    assert read_bounds(start, end) == (*bounds, None, None)


@pytest.mark.parametrize(
    ("start", "end", "detail"),
    [
        ("half past", "2", "the start, 'half past', is not a number of seconds"),
        ("nan", "2", "the start, 'nan', is not a number of seconds"),
        ("1_0", None, "the start, '1_0', is not a number of seconds"),
        ("1", "inf", "the end, 'inf', is not a number of seconds"),
        ("0:01", None, "the start, '0:01', is not a number of seconds"),
        ("-0.5", "2", "the start, -0.5 s, is negative"),
        ("2", "1.5", "the end, 1.5 s, is not after the start, 2 s"),
        ("2", "2.0", "the end, 2 s, is not after the start, 2 s"),
        (None, "-1", "the end, -1 s, is not after the start, 0 s"),
    ],
)
def test_what_cannot_be_a_segment_says_why(start, end, detail):
    bounds = read_bounds(start, end)
    assert (bounds.start_seconds, bounds.end_seconds, bounds.reason, bounds.detail) == (
        *(None, None),
        *("bad_segment", detail),
    )


# Views of one recording


def test_a_segment_is_cut_out_of_a_recording_that_is_decoded_once(collect, long_file, monkeypatch):
    decoded = []
    monkeypatch.setattr(decoding, "decode", lambda *given: decoded.append(1) or decode(*given))
    lines = [f"long.wav,{i / 10},{i / 10 + 0.5},x,," for i in range(15)]
    corpus, clips, _ = collect([*lines, "long.wav,,,x,,"])
    assert (corpus.num_clips, len(decoded)) == (16, 1)
    whole = soundfile.read(long_file, dtype="float32")[0]
    waveforms = MappedWaveforms(clips, corpus.store)
    for i, clip in enumerate(clips.itertuples()):
        start = 0 if np.isnan(clip.start_seconds) else round(clip.start_seconds * RATE_HZ)
        stop = len(whole) if np.isnan(clip.end_seconds) else round(clip.end_seconds * RATE_HZ)
        np.testing.assert_array_equal(waveforms.read(i), whole[start:stop])
        assert clip.duration_seconds == pytest.approx((stop - start) / RATE_HZ)
    assert clips["shard"].nunique() == clips["recording_hash"].nunique() == 1
    assert "long.wav@0.10-0.60" in set(clips["clip_id"])
    assert set(clips["group"]) == {"long.wav"}


def test_a_segment_has_measures_and_a_hash_of_its_own(collect, long_file, tmp_path):
    whole, rate_hz = soundfile.read(long_file, dtype="int16")
    for name, start in (("quiet", 0), ("loud", 1), ("clipped", 3)):
        soundfile.write(tmp_path / f"{name}.wav", whole[start * rate_hz : (start + 1) * rate_hz], rate_hz)
    lines = [f"{name}.wav,,,x,," for name in ("quiet", "loud", "clipped")]
    _, clips, _ = collect([*lines, "long.wav,0,1,x,,", "long.wav,1,2,x,,", "long.wav,3,,x,,"])
    clips = clips.set_index("clip_id")
    for file, segment in (("quiet", "0.00-1.00"), ("loud", "1.00-2.00"), ("clipped", "3.00-end")):
        alone, cut = clips.loc[f"{file}.wav"], clips.loc[f"long.wav@{segment}"]
        for measure in ("peak", "rms_db", "clipped_fraction", "duration_seconds", "num_samples"):
            assert cut[measure] == pytest.approx(alone[measure], rel=1e-4), (file, measure)
        assert cut["audio_hash"] == alone["audio_hash"]
        assert cut["source_format"] == "WAV/PCM_16"
    assert clips.loc["long.wav@3.00-end", "clipped_fraction"] > 0.5


def test_the_offset_and_the_silence_of_a_segment_are_its_own(collect, tmp_path, tone):
    signal = np.concatenate([np.zeros(RATE_HZ), tone(300, 1, peak=0.5) + 0.2]).astype(np.float32)
    soundfile.write(tmp_path / "half.wav", signal, RATE_HZ, subtype="PCM_16")
    _, clips, _ = collect(["half.wav,1,1.5,a,,", "half.wav,1.5,2,b,,"])
    assert clips["dc_offset"].tolist() == pytest.approx([0.2, 0.2], abs=1e-2)
    assert clips["silence_fraction"].tolist() == [0, 0]


def test_a_segment_of_what_exceeds_full_scale_is_as_loud_as_it_was(collect, tmp_path, tone):
    loud = np.concatenate([tone(300, 1, peak=0.25), tone(300, 1, peak=4.0)])
    soundfile.write(tmp_path / "loud.wav", loud, RATE_HZ, subtype="FLOAT")
    corpus, clips, _ = collect(["loud.wav,0,1,x,,", "loud.wav,1,2,x,,"])
    assert clips["peak"].tolist() == pytest.approx([0.25, 4.0], abs=4 / FULL_SCALE)
    assert clips["clipped_fraction"].tolist() == pytest.approx([0.0, 0.84], abs=0.01)
    np.testing.assert_allclose(MappedWaveforms(clips, corpus.store).read(1), loud[RATE_HZ:], atol=4 / FULL_SCALE)


def test_seconds_are_those_of_the_recording_whatever_its_rate(collect, tmp_path, tone):
    parts = [tone(hz, 1, rate_hz=44_100) for hz in (300, 600, 900)]
    soundfile.write(tmp_path / "cd.flac", np.concatenate(parts), 44_100)
    corpus, clips, _ = collect(["cd.flac,1,2,x,,"])
    spectrum = np.abs(np.fft.rfft(MappedWaveforms(clips, corpus.store).read(0)))
    assert len(spectrum) == RATE_HZ / 2 + 1
    assert spectrum.argmax() == 600


# Quarantine


@pytest.mark.parametrize(
    ("start", "end", "reason", "detail"),
    [
        ("soon", "2", "bad_segment", "not a number"),
        ("-1", "2", "bad_segment", "negative"),
        ("2", "1", "bad_segment", "not after the start"),
        ("4", "5", "outside_file", "starts at 4 s, and the recording is 4.000 s long"),
        ("9", "", "outside_file", "starts at 9 s"),
        ("3", f"{4.01 + END_TOLERANCE_SECONDS}", "outside_file", "ends at 4.06 s"),
        ("0.5", "0.54", "too_short", "0.040 s, and audio.min_seconds is 0.05"),
        ("3.99", "4.04", "too_short", "0.010 s"),
        ("2", "3", "silent", "audio.silence_db is -60"),
    ],
)
def test_a_segment_that_cannot_be_used_has_a_reason(collect, long_file, start, end, reason, detail):
    corpus, clips, bad = collect([f"long.wav,{start},{end},x,,", "long.wav,0,1,x,,"])
    assert clips["clip_id"].tolist() == ["long.wav@0.00-1.00"]
    (row,) = bad.itertuples()
    assert row.reason == reason
    assert detail in row.detail
    assert row.Index.startswith(f"long.wav@{float(start):.2f}-" if reason != "bad_segment" else f"long.wav@{start}-")
    assert (corpus.num_clips, corpus.num_quarantined) == (1, 1)


def test_an_end_a_little_behind_the_recording_is_its_end(collect, long_file):
    _, clips, _ = collect([f"long.wav,3,{4 + 0.9 * END_TOLERANCE_SECONDS},x,,"])
    assert clips["num_samples"].tolist() == [RATE_HZ]


def test_the_segments_of_a_broken_recording_say_what_is_wrong_with_it(collect, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    _, _, bad = collect(["text.wav,0,1,x,,", "text.wav,1,2,x,,", "gone.wav,0,1,x,,"])
    assert bad["reason"].to_dict() == {
        "gone.wav@0.00-1.00": "missing",
        "text.wav@0.00-1.00": "unreadable",
        "text.wav@1.00-2.00": "unreadable",
    }


def test_a_corpus_of_refused_segments_alone_is_empty(collect, long_file):
    corpus, clips, bad = collect(["long.wav,8,9,x,,", "long.wav,2,2.5,x,,"])
    assert len(clips) == 0
    assert bad["reason"].tolist() == ["silent", "outside_file"]
    assert corpus.num_quarantined == 2


# The firewall


def speech(tmp_path, tone, name="talk.wav", seconds=12, hz=200):
    soundfile.write(tmp_path / name, np.concatenate([tone(hz + 37 * i, 1) for i in range(seconds)]), RATE_HZ)


def test_overlapping_segments_never_straddle_splits_that_are_made(collect, tmp_path, tone):
    for i in range(6):
        soundfile.write(
            tmp_path / f"{i}.wav", np.concatenate([tone(200 + 40 * i + 7 * n, 1) for n in range(8)]), RATE_HZ
        )
    # In each recording two speakers talk at once, and a third one later; the class is not what links them.
    lines = [
        f"{i}.wav,{start},{end},{'xy'[i % 2]},{who}{i},"
        for i in range(6)
        for start, end, who in ((0, 2, "a"), (1.5, 3, "b"), (2.9, 4, "c"), (5, 6, "d"), (6, 7, "e"))
    ]
    corpus, _, _ = collect(lines, group_column="group")
    params = SplitParams(test_fraction=0.3, validation_fraction=0.3)
    straddling_files = 0
    for seed in range(5):
        made = pd.read_parquet(assign_splits(corpus.clips, params, seed, tmp_path))
        together = made[made["start_seconds"] < 4].groupby("path")["split"].nunique()
        assert together.eq(1).all()
        straddling_files += (made.groupby("path")["split"].nunique() > 1).sum()
    assert straddling_files > 0  # what does not overlap is free to part


def test_all_segments_of_a_file_are_one_group_where_none_is_named(collect, tmp_path, tone):
    speech(tmp_path, tone)
    lines = [f"{path},{i},{i + 1},x,," for path in ("talk.wav", "./talk.wav", tmp_path / "talk.wav") for i in range(4)]
    _, clips, _ = collect(lines)
    assert clips["group"].nunique() == 1


@pytest.mark.parametrize("other", ["talk.wav", "copy.flac"])
def test_an_overlap_across_given_splits_stops_the_run_and_may_be_moved(collect, tmp_path, tone, other):
    speech(tmp_path, tone)
    samples, rate_hz = soundfile.read(tmp_path / "talk.wav", dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, rate_hz)
    lines = [
        "talk.wav,0,2,x,ann,train",
        f"{other},1.9,3,y,bob,test",
        "talk.wav,4,5,x,cyd,test",
        "talk.wav,5,6,y,dee,train",
        "talk.wav,6,7,y,eve,validation",
    ]
    corpus, _, _ = collect(lines, group_column="group", split_column="split")
    params = SplitParams()
    with pytest.raises(LeakageError, match=r"1 stretch of a recording .*talk\.wav@0\.00-2\.00 \(train\)") as caught:
        assign_splits(corpus.clips, params, 0, tmp_path)
    assert f"{other}@1.90-3.00 (test)" in str(caught.value)
    made = pd.read_parquet(assign_splits(corpus.clips, SplitParams(duplicates="move"), 0, tmp_path)).set_index("group")
    assert made["split"].to_dict() == {
        "ann": "train",
        "bob": "train",
        "cyd": "test",
        "dee": "train",
        "eve": "validation",
    }


def test_a_whole_file_overlaps_each_of_its_segments(collect, tmp_path, tone):
    speech(tmp_path, tone)
    speech(tmp_path, tone, "other.wav", 3)
    lines = ["talk.wav,,,x,ann,train", "talk.wav,11,,y,bob,test", "other.wav,,,x,cyd,test", "other.wav,0,1,y,cyd,test"]
    corpus, _, _ = collect(lines, group_column="group", split_column="split")
    with pytest.raises(LeakageError, match=r"talk\.wav \(train\) \+ talk\.wav@11\.00-end \(test\)"):
        assign_splits(corpus.clips, SplitParams(validation_fraction=0.01), 0, tmp_path)


def test_the_digest_changes_with_the_bounds(collect, long_file):
    digests = {collect([f"long.wav,{start},1,x,,"])[0].digest for start in (0, 0.1, 0.2)}
    assert len(digests) == 3
    assert collect(["long.wav,0,1,x,,"], AudioParams())[0].digest in digests
