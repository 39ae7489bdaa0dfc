from __future__ import annotations

import struct

import numpy as np
import pytest

from audiocls.decoding.reading import UnusableClipError
from audiocls.decoding.recording import decode
from audiocls.decoding.truncation import find_truncation
from audiocls.params.run import AudioParams

AUDIO = AudioParams()
RATE_HZ = 16_000
W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
DS64 = b"ds64" + struct.pack("<IQ", 28, 8 * RATE_HZ + 96)  # of four seconds: its own size, then that of the file
# container, subtype, and where the header has the size of the samples: what stands before it, and its layout.
SIZED = [
    ("WAV", "PCM_16", b"data", "<I"),
    ("WAV", "FLOAT", b"data", "<I"),
    ("WAV", "IMA_ADPCM", b"data", "<I"),
    ("WAVEX", "PCM_24", b"data", "<I"),
    ("AIFF", "PCM_16", b"SSND", ">I"),
    ("AIFF", "ULAW", b"SSND", ">I"),
    ("AU", "PCM_16", b".snd\0\0\0\x18", ">I"),
    ("W64", "PCM_16", W64_DATA, "<Q"),
    ("RF64", "PCM_16", b"data", "<I"),
]
OGG = [("OGG", "VORBIS"), ("OGG", "OPUS")]
by_format = pytest.mark.parametrize(("container", "subtype", "name", "layout"), SIZED)


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)


def truncation_of(content):
    """What `decode` says is missing; None where it reads the recording."""
    try:
        decode(content, AUDIO)
    except UnusableClipError as error:
        return error.detail if error.reason == "truncated" else pytest.fail(str(error))
    return None


def with_size(content, name, layout, size):
    at = content.index(name) + len(name)
    return content[:at] + struct.pack(layout, size) + content[at + struct.calcsize(layout) :]


def big_endian(samples):
    """A RIFX file, which soundfile does not write."""
    data = (samples * 32_767).astype(">i2").tobytes()
    form = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    chunks = b"WAVE" + form + struct.pack(">4sI", b"data", len(data)) + data
    return struct.pack(">4sI", b"RIFX", len(chunks)) + chunks


@by_format
def test_a_recording_that_is_cut_off_says_what_it_declares_and_what_is_there(
    noise, encode, container, subtype, name, layout
):
    content = encode(noise, RATE_HZ, container, subtype)
    assert truncation_of(content) is None
    found = truncation_of(content[: len(content) // 3])
    assert found is not None
    declared, present = (float(word) for word in found.split() if word[0].isdigit())
    assert declared == pytest.approx(4.0, abs=0.1)
    assert present == pytest.approx(4 / 3, abs=0.1)


def test_big_endian_wav_is_told_as_well(noise):
    content = big_endian(noise)
    assert truncation_of(content) is None
    assert truncation_of(content[: 44 + RATE_HZ]) == "the header declares 4.000 s, but the file has 0.500 s"


@pytest.mark.parametrize(("container", "subtype", "name", "layout"), [row for row in SIZED if row[3] != "<Q"])
@pytest.mark.parametrize("size", [0, 0x7F00_0008, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_the_sizes_that_streams_write_declare_nothing(noise, encode, container, subtype, name, layout, size):
    content = encode(noise, RATE_HZ, container, subtype)
    if container == "RF64":
        content = with_size(content, DS64, "<Q", 0)
    assert find_truncation(with_size(content, name, layout, size), 1.0) is None


@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize(("container", "name"), [("W64", W64_DATA), ("RF64", DS64)])
def test_nor_do_the_sizes_of_64_bits(noise, encode, container, name, size):
    content = encode(noise, RATE_HZ, container)
    assert find_truncation(with_size(content, name, "<Q", size), 1.0) is None
    assert find_truncation(with_size(content, name, "<Q", 10**10), 1.0) is not None


@pytest.mark.parametrize(("extra_bytes", "told"), [(1, False), (44, False), (1_600, False), (1_700, True)])
def test_a_header_that_declares_a_little_more_is_let_pass(noise, encode, extra_bytes, told):
    content = with_size(encode(noise), b"data", "<I", 2 * len(noise) + extra_bytes)
    assert (truncation_of(content) is not None) == told


def test_odd_sizes_with_padding_or_without_and_chunks_around_the_samples_are_nothing_missing(noise, encode):
    content = encode(noise[:8_001], RATE_HZ, "WAV", "PCM_U8")
    assert truncation_of(content) is truncation_of(content[:-1]) is None
    odd = struct.pack("<4sI", b"note", 3) + b"abc\0"
    for whole in (content + odd, content + b"garbage" * 99, content[:12] + odd + content[12:]):
        assert truncation_of(whole) is None
    assert truncation_of((content[:12] + odd + content[12:])[:4_000]) is not None


@pytest.mark.parametrize(("container", "subtype"), OGG)
def test_ogg_that_ends_within_a_page_is_truncated(noise, encode, container, subtype):
    content = encode(noise, RATE_HZ, container, subtype)
    assert truncation_of(content) is None
    assert truncation_of(content + b"a tag") is None
    last = content.rindex(b"OggS")
    for size in (len(content) // 3, last + 10, last + 27, len(content) - 1):
        assert "the file ends within an Ogg page, after " in truncation_of(content[:size])


def test_a_whole_last_page_that_is_not_marked_as_the_last_is_let_pass(noise, encode):
    content = encode(noise, RATE_HZ, "OGG", "OPUS")
    last = content.rindex(b"OggS")
    assert content[last + 5] & 4  # the mark
    assert last > len(content) / 2
    assert truncation_of(content[:last]) is None


@by_format
def test_headers_that_end_early_or_are_damaged_say_nothing(noise, encode, container, subtype, name, layout):
    content = encode(noise[:1_000], RATE_HZ, container, subtype)
    start = content.index(name) + len(name)
    assert all(find_truncation(content[:size], 1.0) is None for size in range(start + 4))
    assert find_truncation(content.replace(name, bytes(len(name))), 1.0) is None


def test_a_file_of_nothing_but_chunks_is_not_looked_through(encode):
    assert find_truncation(b"RIFF\0\0\0\0WAVE" + bytes(80_000_000), 1.0) is None


@pytest.mark.parametrize("size", [2**61, 2**62 - 1])
def test_an_impossible_size_of_another_chunk_raises_nothing(noise, encode, size):
    content = encode(noise, RATE_HZ, "W64")
    odd = b"fact" + W64_DATA[4:]
    assert find_truncation(content[:40] + odd + struct.pack("<Q", size) + content[40:], 1.0) is None
    assert find_truncation(b"caff\0\1\0\0desc" + struct.pack(">Q", 2**63 + size) + bytes(100), 1.0) is None
