from __future__ import annotations

import io
import re
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from audiocls.decoding import containers, reading
from audiocls.decoding.containers import recognise
from audiocls.decoding.reading import MissingDecoderError, UnusableClipError
from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.params.run import AudioParams
from audiocls.waveforms.corpus import collect_corpus

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 5: "5.0", 6: "5.1", 8: "7.1"}
# FFmpeg's muxer and encoder, our name of the format, and what the encoder takes: channels, rates.
FORMATS = [
    ("ipod", "aac", "MP4/AAC", (1, 2, 5), (8_000, 16_000, 44_100, 96_000)),
    ("adts", "aac", "AAC/AAC", (1, 2, 5), (8_000, 16_000, 44_100, 96_000)),
    ("ipod", "alac", "MP4/ALAC", (1, 2, 6), (4_000, 16_000, 44_100, 192_000)),
    ("asf", "wmav2", "ASF/WMAV2", (1, 2), (4_000, 16_000, 44_100, 48_000)),
    ("webm", "libopus", "MATROSKA/OPUS", (1, 2, 6), (48_000,)),
    ("matroska", "flac", "MATROSKA/FLAC", (1, 2, 3, 6, 8), (4_000, 16_000, 44_100, 192_000)),
    ("wv", "wavpack", "WAVPACK/WAVPACK", (1, 2, 3, 6, 8), (4_000, 16_000, 44_100, 192_000)),
]
EVERY = [(m, c, name, n, rate) for m, c, name, channels, rates in FORMATS for n in channels for rate in rates]


@pytest.fixture(scope="module")
def av():
    return pytest.importorskip("av", reason="PyAV is in an extra: pip install 'audiocls[formats]'")


@pytest.fixture(scope="module")
def write_container(av):
    """A function that returns the bytes of a container; the signal is (samples,), the same in every channel."""

    def written(signal, rate_hz=16_000, muxer="ipod", codec="aac", channels=1):
        file, layout = io.BytesIO(), LAYOUTS[channels]
        with av.open(file, "w", format=muxer) as out:
            stream = out.add_stream(codec, rate=rate_hz, layout=layout)
            if codec in ("aac", "wmav2"):
                stream.bit_rate = 64_000 * channels
            packed = np.repeat(signal.astype(np.float32), channels)[None, :]
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate_hz, 0
            takes = [sample_format.name for sample_format in stream.codec_context.codec.audio_formats]
            best = "s16p" if "s16p" in takes else takes[0]
            stream.codec_context.format = best
            convert = av.AudioResampler(format=best, layout=layout, rate=rate_hz)
            for part in [*convert.resample(frame), *convert.resample(None)]:
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
        return file.getvalue()

    return written


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setattr(reading, "is_installed", lambda: False)


def reason_and_detail(content, **settings):
    with pytest.raises(UnusableClipError) as caught:
        decode(content, AudioParams(**settings))
    return caught.value.reason, caught.value.detail


# With PyAV


@pytest.mark.parametrize(("muxer", "codec", "name", "channels", "rate_hz"), EVERY)
def test_a_tone_comes_out_of_every_container(tone, write_container, muxer, codec, name, channels, rate_hz):
    recording = decode(write_container(tone(100, 1.0, rate_hz), rate_hz, muxer, codec, channels), AudioParams())
    assert (recording.source_format, recording.source_channels) == (name, channels)
    assert recording.source_rate_hz == rate_hz
    # What an encoder adds at either end is not a tenth of a second.
    assert recording.duration_seconds == pytest.approx(1.0, abs=0.3 if rate_hz <= 8_000 else 0.15)
    middle = recording.samples[3_200:11_200].astype(np.float64) / FULL_SCALE * recording.scale
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 16_000 / len(middle) == pytest.approx(100, abs=2)
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(("muxer", "codec"), [("ipod", "alac"), ("wv", "wavpack"), ("matroska", "flac")])
def test_lossless_codecs_give_what_a_wav_gives(encode, write_container, muxer, codec):
    noise = np.random.default_rng(1).integers(-32_768, 32_767, 8_000) / FULL_SCALE
    content = write_container(noise, 16_000, muxer, codec)
    np.testing.assert_array_equal(decode(content, AudioParams()).samples, decode(encode(noise), AudioParams()).samples)


def test_mp2_needs_no_container(tone, write_container):
    recording = decode(write_container(tone(440), muxer="mp2", codec="mp2"), AudioParams())
    assert recording.source_format == "MP3/MPEG_LAYER_II"


def test_a_container_longer_than_allowed_is_too_long_by_its_header_and_without_one(tone, write_container):
    for muxer in ("ipod", "adts"):
        content = write_container(tone(440, 3.0), muxer=muxer)
        assert reason_and_detail(content, max_file_seconds=1.0)[0] == "too_long"
    assert decode(content, AudioParams(max_file_seconds=4.0)).duration_seconds == pytest.approx(3.0, abs=0.2)


def test_what_is_decoded_stops_at_the_limit_whatever_the_header_says(tone, write_container, monkeypatch):
    content = write_container(tone(440, 60.0), muxer="adts")
    opened = containers.ContainerFile.__init__

    def lying(self, *arguments):
        opened(self, *arguments)
        self.seconds = 0.5

    monkeypatch.setattr(containers.ContainerFile, "__init__", lying)
    tracemalloc.start()
    try:
        assert reason_and_detail(content, max_file_seconds=1.0)[0] == "too_long"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_silence_and_shortness_are_told_as_in_any_format(tone, write_container):
    assert reason_and_detail(write_container(np.zeros(16_000), codec="alac"))[0] == "silent"
    assert reason_and_detail(write_container(tone(440, 0.02), codec="alac"))[0] == "too_short"


@pytest.mark.parametrize(
    ("muxer", "codec"), [("ipod", "aac"), ("adts", "aac"), ("asf", "wmav2"), ("webm", "libopus"), ("wv", "wavpack")]
)
def test_damaged_containers_are_decoded_or_have_a_reason(tone, write_container, muxer, codec):
    good = write_container(tone(440, 0.5, 48_000), 48_000, muxer, codec)
    rng = np.random.default_rng(7)
    found = set()
    for _ in range(40):
        content = bytearray(good[: rng.integers(20, len(good))] if rng.random() < 0.5 else good)
        for at in rng.integers(8, len(content), 4):
            content[at] = rng.integers(256)
        try:
            found.add(decode(bytes(content), AudioParams()).samples.any())
        except UnusableClipError as error:
            found |= {error.reason, "an address" if "0x7f" in error.detail else True}
    assert found <= {True, "unreadable", "truncated", "empty", "too_short", "too_long", "non_finite", "silent"}


def test_a_container_cut_before_its_index_is_truncated(tone, write_container):
    content = write_container(tone(440, 0.5))
    reason, detail = reason_and_detail(content[: len(content) // 2])
    assert reason == "truncated"
    assert re.fullmatch(r"the file ends within the box 'mdat' of MP4, \d+ bytes too early", detail)


def test_a_rate_that_changes_on_the_way_is_unreadable_and_both_rates_are_named(tone, write_container):
    content = write_container(tone(440, 0.5), muxer="adts") + write_container(tone(440, 0.5, 32_000), 32_000, "adts")
    assert reason_and_detail(content) == (
        "unreadable",
        "AAC: it starts with 16000 Hz and 1 channels, then changes to 32000 Hz and 1 channels",
    )


def test_a_mistake_of_ours_is_not_blamed_on_the_container(tone, write_container, monkeypatch):
    def mistaken(_):
        raise ValueError("a bug")

    monkeypatch.setattr(containers.ContainerFile, "blocks", mistaken)
    with pytest.raises(ValueError, match="a bug"):
        decode(write_container(tone(440)), AudioParams())


def test_the_rate_is_that_of_what_is_decoded_and_not_the_headers(tone, write_container):
    content = write_container(tone(440, 1.0, 48_000), 48_000, "ipod", "alac")
    at = content.index(b"alac") + 28  # of the sample entry, 16.16 bits (ISO/IEC 14496-12, 8.5.2)
    assert content[at : at + 4] == (48_000 << 16).to_bytes(4, "big")
    wrong = content[:at] + (24_000 << 16).to_bytes(4, "big") + content[at + 4 :]
    recording = decode(wrong, AudioParams())
    assert (recording.source_rate_hz, recording.duration_seconds) == (48_000, pytest.approx(1.0, abs=0.01))


def test_a_film_without_sound_is_unreadable(av):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        out.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        out.mux(stream.encode(None))
    assert reason_and_detail(file.getvalue()) == ("unreadable", "MP4: the file has no audio stream")


def test_a_list_of_other_files_is_not_followed(tmp_path, encode, tone):
    (tmp_path / "secret.wav").write_bytes(encode(tone(440)))
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    assert reason_and_detail(playlist.encode())[0] == "unreadable"


# Without PyAV


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00" + bytes(100), "MP4"),
        (b"\xff\xf1\x60\x40\x3f\xbf\xfc" + bytes(100), "AAC"),
        (b"\xff\xf9\x60\x40\x3f\xbf\xfc" + bytes(100), "AAC"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(100), "ASF"),
        (b"\x1aE\xdf\xa3" + bytes(100), "MATROSKA"),
    ],
)
def test_a_container_without_the_extra_is_unreadable_and_the_extra_is_named(without_av, content, name):
    reason, detail = reason_and_detail(content)
    assert reason == "unreadable"
    assert detail == f"Format not recognised; it looks like {name}; pip install 'audiocls[formats]' may add support"


@pytest.mark.parametrize("content", [b"text " * 9, b"RIFF" + bytes(40), b"\xff", b"\xff\xfb\x90\x00", b"\x89PNG\r\n"])
def test_what_is_no_container_is_not_taken_for_one(content):
    assert recognise(content) is None


def test_installing_the_extra_is_enough_for_the_next_run(
    tone, write_container, list_table, fill_store, monkeypatch, tmp_path
):
    (tmp_path / "a.m4a").write_bytes(write_container(tone(440, 0.5)))
    (tmp_path / "b.m4a").write_bytes(write_container(tone(440, 0.5)))
    manifest = list_table(tmp_path, [("a.m4a", "x"), ("b.m4a", "x")])
    with monkeypatch.context() as patch:
        patch.setattr(reading, "is_installed", lambda: False)
        corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    bad = pd.read_parquet(corpus.quarantine)
    assert list(bad["reason"]) == ["unreadable"] * 2
    assert bad["detail"].str.contains("formats", regex=False).all()
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    assert pq.read_table(corpus.clips)["clip_id"].to_pylist() == ["a.m4a", "b.m4a"]
    assert fill_store(manifest, tmp_path).shards == ()


def test_a_missing_decoder_is_one_kind_of_unusable_clip():
    assert issubclass(MissingDecoderError, UnusableClipError)
