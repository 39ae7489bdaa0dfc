"""The length in a header can be missing, too small, too large or that of another file: what is in the file counts."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from audiocls.decoding import reading
from audiocls.decoding.flac_frames import with_length
from audiocls.decoding.mpeg_frames import find_streams
from audiocls.decoding.ogg_pages import find_pages
from audiocls.decoding.reading import MissingDecoderError, UnusableClipError
from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.params.run import AudioParams

AUDIO = AudioParams()
RATE_HZ = AUDIO.sample_rate_hz
SECONDS = 2.0
# ID3v2.4 of 1,024 bytes with what looks like a frame of MPEG audio in it; ID3v1; APEv2 without items.
ID3 = b"ID3\x04\0\0\0\0\x08\0" + (b"\xff\xfb\x90\x00" * 256)
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2_000, 32, 0, 0) + bytes(8 + 32)


@pytest.fixture(scope="module")
def sound():
    """Two seconds of a tone in noise that grows louder, so that no part is like another."""
    times = np.arange(round(SECONDS * 44_100)) / 44_100
    noise = np.random.default_rng(3).normal(0, 0.01, len(times))
    return ((0.1 + 0.2 * times) * np.sin(2 * np.pi * (200 + 150 * times) * times) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def write_mp3(sound):
    def written(seconds=SECONDS, rate_hz=44_100, channels=1, mode="VARIABLE"):
        file, part = io.BytesIO(), np.tile(sound[: round(seconds * rate_hz), None], (1, channels))
        soundfile.write(file, part, rate_hz, format="MP3", bitrate_mode=mode, compression_level=0.5)
        return file.getvalue()

    return written


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setattr(reading, "is_installed", lambda: False)


def seconds_of(content, **settings):
    return decode(content, AudioParams(**settings)).duration_seconds


def reason_and_detail(content, **settings):
    with pytest.raises(UnusableClipError) as caught:
        decode(content, AudioParams(**settings))
    return caught.value.reason, caught.value.detail


def samples_of(content):
    recording = decode(content, AUDIO)
    return recording.samples / FULL_SCALE * recording.scale


def tag_at(content):
    return max(content.find(b"Xing"), content.find(b"Info"))


def with_frames(content, frames):
    """Write another number of frames into the Xing header."""
    at = tag_at(content) + 8
    return content[:at] + struct.pack(">I", frames) + content[at + 4 :]


def without_tag(content):
    """Drop the frame with the Xing header, as FFmpeg does where it writes to a pipe."""
    return content[find_streams(content)[0].ends[0] :]


# MP3


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 1), (44_100, 2), (22_050, 1), (8_000, 2)])
@pytest.mark.usefixtures("without_av")
def test_an_mp3_without_a_header_has_all_of_the_sound_behind_the_encoders_delay(write_mp3, mode, rate_hz, channels):
    content = write_mp3(1.5, rate_hz, channels, mode)
    whole, found = samples_of(content), samples_of(without_tag(content))
    delay = round(576 * RATE_HZ / rate_hz)
    assert seconds_of(content) == 1.5
    # The delay is no whole number of samples at 16 kHz.
    part = found[delay : delay + len(whole)]
    assert len(part) == len(whole)
    assert np.dot(part, whole) / np.linalg.norm(part) / np.linalg.norm(whole) > 0.98
    assert len(found) - delay - len(whole) < 2 * 1_152 * RATE_HZ / rate_hz


def test_a_stream_of_variable_bit_rate_has_frames_of_many_sizes(write_mp3):
    (stream,) = find_streams(write_mp3())
    sizes = np.subtract(stream.ends, stream.starts)
    assert len(set(sizes.tolist())) >= 3
    assert stream.declared_frames == stream.num_frames == len(sizes) - 1


@pytest.mark.parametrize("frames", [0, 1, 30, -1])
def test_an_mp3_that_declares_fewer_frames_than_there_are_is_decoded_whole(write_mp3, frames):
    content = write_mp3()
    declared = find_streams(content)[0].num_frames
    assert seconds_of(with_frames(content, frames if frames >= 0 else declared - 1)) >= SECONDS
    assert seconds_of(with_frames(content, declared)) == SECONDS


def test_an_mp3_that_declares_more_frames_than_there_are_is_truncated(write_mp3):
    content = write_mp3()
    declared = find_streams(content)[0].num_frames
    assert seconds_of(with_frames(content, declared + 1)) >= SECONDS  # some count the header's own frame
    reason, detail = reason_and_detail(with_frames(content, 2 * declared))
    assert reason == "truncated"
    seconds = declared * 1_152 / 44_100
    assert detail == f"the header declares {2 * seconds:.3f} s, but the file has {seconds:.3f} s"


def test_an_mp3_that_ends_within_a_frame_is_truncated_with_a_header_and_without_one(write_mp3):
    content = write_mp3()
    for whole in (content, without_tag(content), ID3 + without_tag(content)):
        assert reason_and_detail(whole[:-1])[0] == "truncated"
        assert reason_and_detail(whole[: len(whole) * 2 // 3])[0] == "truncated"
    last = find_streams(content)[0].starts[-1]
    assert seconds_of(without_tag(content[:last])) == pytest.approx(SECONDS, abs=0.06)  # nothing tells


def test_tags_around_and_between_are_no_sound_and_hide_none(write_mp3):
    content, other = write_mp3(), write_mp3(1.0)
    for tagged in (
        ID3 + content,
        content + ID3V1,
        content + APE + ID3V1,
        ID3 + content + ID3V1,
        content + bytes(9_000),
    ):
        assert seconds_of(tagged) == SECONDS
    assert seconds_of(ID3 + content + ID3V1 + ID3 + other + APE) == SECONDS + 1.0


def test_joined_mp3s_are_each_the_same_as_alone(write_mp3):
    content, other = write_mp3(), write_mp3(1.0)
    alone = np.concatenate([samples_of(content), samples_of(other)])
    joined = samples_of(content + other)
    np.testing.assert_allclose(joined[: round(1.9 * RATE_HZ)], alone[: round(1.9 * RATE_HZ)], atol=1e-4)
    np.testing.assert_allclose(joined[round(2.1 * RATE_HZ) :], alone[round(2.1 * RATE_HZ) :], atol=2e-3)


def test_a_header_without_any_frames_is_truncated_or_adds_nothing(write_mp3):
    content = write_mp3()
    header = content[: find_streams(content)[0].ends[0]]
    assert reason_and_detail(content + header)[0] == reason_and_detail(header + content)[0] == "truncated"
    assert seconds_of(content + with_frames(header, 0)) == seconds_of(with_frames(header, 0) + content) == SECONDS


@pytest.mark.parametrize("order", [1, -1])
def test_an_mp3_joined_to_one_without_a_header_is_decoded_whole(write_mp3, order):
    content, other = write_mp3(), without_tag(write_mp3(1.0))
    first, second = (content, other)[::order]
    assert seconds_of(first + second) == pytest.approx(SECONDS + 1.0, abs=0.12)
    assert seconds_of(first + second) >= SECONDS + 1.0


def test_joined_mp3s_of_other_rates_or_channels_are_unreadable_and_both_are_named(write_mp3):
    for other, words in (
        (write_mp3(1.0, 22_050), "22050 Hz and 1 ch"),
        (write_mp3(1.0, 44_100, 2), "44100 Hz and 2 ch"),
    ):
        reason, detail = reason_and_detail(write_mp3() + other)
        assert reason == "unreadable"
        assert "it starts with 44100 Hz and 1 channels" in detail
        assert words in detail


@pytest.mark.parametrize("damage", [bytes(4_000), b"\xaa" * 4_000])
def test_an_mp3_with_a_damaged_part_is_unreadable(write_mp3, damage):
    content = without_tag(write_mp3(mode="CONSTANT"))
    middle = len(content) // 2
    reason, detail = reason_and_detail(content[:middle] + damage + content[middle + len(damage) :])
    assert reason == "unreadable"
    assert "s could be decoded" in detail


def test_without_the_extra_a_damaged_mp3_waits_for_it(write_mp3, without_av):
    content = without_tag(write_mp3(mode="CONSTANT"))
    middle = len(content) // 2
    with pytest.raises(MissingDecoderError, match="formats"):
        decode(content[:middle] + bytes(4_000) + content[middle + 4_000 :], AUDIO)


def test_joined_files_together_are_not_longer_than_a_file_may_be(write_mp3):
    content = write_mp3(1.0)
    assert seconds_of(content * 3, max_file_seconds=3.0) == 3.0
    assert reason_and_detail(content * 4, max_file_seconds=3.0)[0] == "too_long"


# FLAC


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("declared", [0, 1, 44_100])
def test_a_flac_with_no_length_or_one_too_small_is_decoded_whole(sound, encode, channels, declared):
    content = encode(np.tile(sound[:, None], (1, channels)), 44_100, "FLAC")
    np.testing.assert_array_equal(samples_of(with_length(content, declared)), samples_of(content))
    for tagged in (ID3 + with_length(content, declared), with_length(content, declared) + ID3V1, content + ID3V1):
        assert seconds_of(tagged) == SECONDS


def test_a_flac_without_a_length_that_is_cut_is_truncated(sound, encode):
    content = with_length(encode(sound, 44_100, "FLAC"), 0)
    for size in (len(content) - 1, len(content) * 2 // 3):
        reason, detail = reason_and_detail(content[:size])
        assert reason == "truncated"
        assert "the file ends within a FLAC frame" in detail


def test_joined_flacs_are_decoded_one_after_the_other(sound, encode):
    content, other = encode(sound, 44_100, "FLAC"), with_length(encode(sound[:44_100], 44_100, "FLAC"), 0)
    assert seconds_of(content + other) == seconds_of(other + content) == SECONDS + 1.0
    assert reason_and_detail(content + other[:-100])[0] == "truncated"
    assert reason_and_detail(content + encode(sound, 22_050, "FLAC"))[0] == "unreadable"


# Ogg


def test_chained_ogg_is_decoded_one_after_the_other_and_a_cut_link_is_truncated(sound, encode):
    content, other = encode(sound, 44_100, "OGG", "VORBIS"), encode(sound[:44_100], 44_100, "OGG", "VORBIS")
    assert seconds_of(content + other) == SECONDS + 1.0
    for cut in (content[:-50] + other, content + other[:-50]):
        assert reason_and_detail(cut)[0] == "truncated"


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_damaged_page_of_ogg_is_unreadable_and_not_a_shorter_recording(sound, encode, place):
    content = bytearray(encode(np.tile(sound, 3), 44_100, "OGG", "VORBIS"))
    content[round(place * len(content))] ^= 0xFF
    reason, detail = reason_and_detail(bytes(content))
    assert reason == "unreadable"
    assert detail.startswith("the file has 6.000 s, but only ")


def test_the_pages_of_an_ogg_file_follow_one_another(sound, encode):
    content = encode(sound, 44_100, "OGG", "VORBIS")
    pages = list(find_pages(content))
    assert [page.start for page in pages[1:]] == [page.end for page in pages[:-1]]
    assert (pages[0].is_first, pages[-1].end, pages[-1].granule) == (True, len(content), len(sound))


# Sizes of samples

SIZED = [
    ("WAV", "PCM_16", b"data", "<I"),
    ("WAV", "PCM_24", b"data", "<I"),
    ("WAV", "IMA_ADPCM", b"data", "<I"),
    ("AIFF", "PCM_16", b"SSND", ">I"),
    ("AU", "PCM_16", b".snd\0\0\0\x18", ">I"),
    ("CAF", "PCM_16", b"data", ">Q"),
]
by_size = pytest.mark.parametrize(("container", "subtype", "name", "layout"), SIZED)


def with_size(content, name, layout, size):
    at = content.index(name) + len(name)
    return content[:at] + struct.pack(layout, size) + content[at + struct.calcsize(layout) :]


@by_size
@pytest.mark.parametrize("size", [0, -1, 0x7FFF_F000, 0x8000_0000])
def test_a_header_without_a_size_hides_no_sound(sound, encode, container, subtype, name, layout, size):
    content = encode(sound, 44_100, container, subtype)
    if container == "CAF" and size > 0:
        size = 2**63 - 1
    size %= 2 ** (8 * struct.calcsize(layout))
    np.testing.assert_array_equal(samples_of(with_size(content, name, layout, size)), samples_of(content))


@by_size
def test_samples_after_those_that_the_header_declares_are_unreadable_and_not_dropped(
    sound, encode, container, subtype, name, layout
):
    content = encode(sound, 44_100, container, subtype)
    half = len(content) // 2 // 2_048 * 2_048  # of whole blocks
    reason, detail = reason_and_detail(with_size(content, name, layout, half))
    assert reason == "unreadable"
    assert "that it does not account for" in detail


def test_chunks_and_padding_after_the_samples_are_let_pass(sound, encode):
    content = encode(sound, 44_100, subtype="PCM_24")
    note = struct.pack("<4sI", b"note", 9_001) + b"\x7f" * 9_001
    for after in (note, note + b"\0" + note, bytes(20_000), note + bytes(20_000)):
        assert seconds_of(content + after) == SECONDS


def test_an_empty_recording_with_chunks_after_it_is_empty(encode):
    empty = encode(np.zeros(0, np.float32), subtype="PCM_24")
    assert reason_and_detail(empty)[0] == "empty"
    assert reason_and_detail(empty + struct.pack("<4sI", b"note", 9_000) + b"\x7f" * 9_000)[0] == "empty"


def test_a_cut_in_the_last_block_of_a_codec_loses_the_block_and_is_truncated(sound, encode):
    content = encode(sound[:16_000], RATE_HZ, "WAV", "MS_ADPCM")
    whole = seconds_of(content)
    reason, detail = reason_and_detail(content[:-7])
    assert reason == "truncated"
    assert detail.startswith(f"the header declares {whole:.3f} s")


@pytest.mark.parametrize(("container", "subtype"), [("NIST", "PCM_16"), ("SVX", "PCM_16"), ("CAF", "PCM_16")])
def test_cut_files_of_rarer_formats_are_truncated(sound, encode, container, subtype):
    content = encode(sound, 44_100, container, subtype)
    assert seconds_of(content) == SECONDS
    assert reason_and_detail(content[: len(content) // 2])[0] == "truncated"


@pytest.mark.parametrize("container", ["VOC", "PVF", "AVR", "PAF", "IRCAM", "NIST", "MAT4", "MAT5", "SDS"])
def test_joined_files_of_rarer_formats_are_decoded_one_after_the_other(sound, encode, container):
    content = encode(sound, 44_100, container)
    one = decode(content, AUDIO).duration_seconds
    assert decode(content + content, AUDIO).duration_seconds == 2 * one
