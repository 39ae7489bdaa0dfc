#!/usr/bin/env python3
"""Measure how every format is decoded, for all ways of writing it: the tables of docs/formats.md.

    python benchmarks/formats.py            writes the tables into the page
    python benchmarks/formats.py --cases    prints a line for every file

Signals are encoded by libsndfile and by FFmpeg (PyAV, the extra `formats`), to seekable files and to pipes. Sizes are
removed from headers, and files are concatenated and truncated. The output of `decode` is compared with the original
signal, aligned by cross-correlation because codecs add a delay, and its length with that of FFmpeg's decoder. A cell
applies to all rates and channels of the format.

`tests/audiocls/decoding/test_formats.py` checks that the page matches the measurements.
"""

from __future__ import annotations

import contextlib
import io
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocls.decoding import reading
from audiocls.decoding.flac_frames import with_length
from audiocls.decoding.mpeg_frames import find_streams
from audiocls.decoding.reading import MissingDecoderError, UnusableClipError
from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.decoding.truncation import find_samples
from audiocls.params.run import AudioParams

AUDIO: Final = AudioParams()
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "formats.md"
SECONDS: Final = (1.3, 0.7)  # of a recording, and of the one that is joined to it
SITUATIONS: Final = ("seekable", "piped", "no size", "joined", "cut", "piped, cut")
LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1"}
# Codecs start and end with silence of their own; of each recording in a file.
MOST_SECONDS_ADDED: Final = 0.3
KEPT_FRACTION: Final = 0.6  # of a file that is cut
DECODED, UNNOTICED, LOST = "decoded", "the part", "LOST"

Signal = NDArray[np.float32]


class Writer(NamedTuple):
    """How FFmpeg writes a format."""

    muxer: str
    codec: str
    options: dict[str, str] = {}  # noqa: RUF012 - never changed
    quality: int | None = None  # of a variable bit rate
    kbps: int | None = None


class Format(NamedTuple):
    """A format, who writes it, at which rates and with how many channels."""

    name: str
    seekable: tuple[str, str] | Writer  # libsndfile's container and subtype, or FFmpeg
    piped: Writer | None
    rates: tuple[int, ...] = (8_000, 44_100)
    channels: tuple[int, ...] = (1, 2)
    # Least correlation with what was encoded; 0: seconds alone, as FFmpeg's encoder for WMA returns another waveform.
    likeness: float = 0.999
    tail_samples: int = 0  # silence to be encoded after the signal, as the encoder drops its last frames


MP3_RATES, AAC_PIPED = (16_000, 44_100), {"movflags": "frag_keyframe+empty_moov"}
FORMATS: Final = (
    Format("WAV, 16 bits", ("WAV", "PCM_16"), Writer("wav", "pcm_s16le")),
    Format("WAV, 24 bits", ("WAV", "PCM_24"), Writer("wav", "pcm_s24le")),
    Format("WAV, float", ("WAV", "FLOAT"), Writer("wav", "pcm_f32le")),
    Format("WAV, mu-law", ("WAV", "ULAW"), Writer("wav", "pcm_mulaw")),
    Format("WAV, IMA ADPCM", ("WAV", "IMA_ADPCM"), Writer("wav", "adpcm_ima_wav"), likeness=0.95),
    Format("WAV, Microsoft ADPCM", ("WAV", "MS_ADPCM"), Writer("wav", "adpcm_ms"), likeness=0.95),
    Format("WAV, GSM 6.10", ("WAV", "GSM610"), None, (8_000,), (1,), 0.8),
    Format("WAV, MP3", Writer("wav", "libmp3lame"), Writer("wav", "libmp3lame"), MP3_RATES, likeness=0.95),
    Format("RF64", ("RF64", "PCM_16"), None),
    Format("W64", ("W64", "PCM_16"), Writer("w64", "pcm_s16le")),
    Format("AIFF", ("AIFF", "PCM_16"), Writer("aiff", "pcm_s16be")),
    Format("AU", ("AU", "PCM_16"), Writer("au", "pcm_s16be")),
    Format("CAF", ("CAF", "PCM_16"), Writer("caf", "pcm_s16be")),
    Format("CAF, ALAC", ("CAF", "ALAC_16"), None),
    Format("NIST SPHERE", ("NIST", "PCM_16"), None),
    Format("FLAC", ("FLAC", "PCM_16"), Writer("flac", "flac")),
    Format("OGG Vorbis", ("OGG", "VORBIS"), None, likeness=0.95),
    Format("OGG Opus", ("OGG", "OPUS"), Writer("ogg", "libopus"), (8_000, 48_000), likeness=0.95),
    Format(
        "MP3, constant bit rate", Writer("mp3", "libmp3lame"), Writer("mp3", "libmp3lame"), MP3_RATES, likeness=0.95
    ),
    Format(
        "MP3, variable bit rate",
        Writer("mp3", "libmp3lame", quality=4),
        Writer("mp3", "libmp3lame", quality=4),
        MP3_RATES,
        likeness=0.95,
    ),
    Format("MP2", Writer("mp2", "mp2"), Writer("mp2", "mp2"), MP3_RATES, likeness=0.95),
    Format("AAC", Writer("adts", "aac"), Writer("adts", "aac"), likeness=0.9),
    Format("m4a, AAC", Writer("ipod", "aac"), Writer("ipod", "aac", AAC_PIPED), likeness=0.9),
    Format("m4a, ALAC", Writer("ipod", "alac"), Writer("ipod", "alac", AAC_PIPED)),
    Format(
        "WMA",
        Writer("asf", "wmav2", kbps=96),
        Writer("asf", "wmav2", kbps=96),
        MP3_RATES,
        likeness=0.0,
        tail_samples=4_096,
    ),
    Format("WebM, Opus", Writer("webm", "libopus"), Writer("webm", "libopus"), (48_000,), likeness=0.95),
    Format("Matroska, FLAC", Writer("matroska", "flac"), Writer("matroska", "flac")),
    Format("WavPack", Writer("wv", "wavpack"), Writer("wv", "wavpack")),
    Format("OGG FLAC", Writer("ogg", "flac"), Writer("ogg", "flac")),
    Format("AMR", Writer("amr", "libopencore_amrnb"), Writer("amr", "libopencore_amrnb"), (8_000,), (1,), 0.5),
)


class Case(NamedTuple):
    """What became of one file."""

    format: str
    situation: str
    rate_hz: int
    channels: int
    outcome: str  # DECODED, UNNOTICED, LOST, or the reason why it was refused
    detail: str
    seconds: float  # decoded by us
    encoded_seconds: float
    seconds_by_ffmpeg: float  # 0 where it decodes nothing
    without_extra: str  # the outcome where PyAV is not installed


class _Pipe:
    """A file that cannot be sought in."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)


def make_signal(seconds: float, rate_hz: int, channels: int, seed: int) -> Signal:
    """Return a voice-like buzz of gliding pitch, (samples, channels), which no other part of itself is like."""
    rng, times = np.random.default_rng(seed), np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(130 + 60 * times + 25 * np.sin(9 * times)) / rate_hz
    buzz = np.sum([np.sin(k * phase) / k for k in range(1, 8)], axis=0) * (0.7 + 0.3 * np.sin(23 * times + seed))
    mono = 0.2 * buzz + 0.003 * rng.standard_normal(len(times))
    return np.stack([mono * (0.9 - 0.2 * i) for i in range(channels)], axis=1).astype(np.float32)


def encode(writer: tuple[str, str] | Writer, signal: Signal, rate_hz: int, *, to_pipe: bool = False) -> bytes:
    """Return the bytes of a file."""
    if isinstance(writer, Writer):
        return _encode_by_ffmpeg(writer, signal, rate_hz, _Pipe() if to_pipe else io.BytesIO())
    file = io.BytesIO()
    soundfile.write(file, signal, rate_hz, format=writer[0], subtype=writer[1])
    return file.getvalue()


def _encode_by_ffmpeg(writer: Writer, signal: Signal, rate_hz: int, file: _Pipe | io.BytesIO) -> bytes:
    layout = LAYOUTS[signal.shape[1]]
    with av.open(file, "w", format=writer.muxer, options=writer.options) as out:
        stream: Any = out.add_stream(writer.codec, rate=rate_hz, layout=layout)
        if writer.kbps is not None:
            stream.bit_rate = 1_000 * writer.kbps
        if writer.quality is not None:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 118 * writer.quality  # FF_QP2LAMBDA
        takes = [found.name for found in stream.codec_context.codec.audio_formats or ()]
        stream.codec_context.format = next((name for name in ("s16p", "s16") if name in takes), (takes or ["s16"])[0])
        frame = av.AudioFrame.from_ndarray(signal.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        convert = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate_hz)
        for part in [*convert.resample(frame), *convert.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return b"".join(file.parts) if isinstance(file, _Pipe) else file.getvalue()


def without_size(content: bytes) -> bytes | None:
    """Return a file whose header gives no length; None where the format has no such header."""
    if content.startswith(b"fLaC"):
        return with_length(content, 0)
    samples = find_samples(content)
    if samples is not None and samples.size_at is not None:
        size = struct.calcsize(samples.layout)
        return content[: samples.size_at] + b"\xff" * size + content[samples.size_at + size :]
    streams = find_streams(content) if content.startswith((b"ID3", b"\xff")) else []
    return content[streams[0].ends[0] :] if streams and streams[0].tagged else None


def make_files(kind: Format, rate_hz: int, channels: int) -> Iterator[tuple[str, bytes, list[Signal]]]:
    """Yield the situations of a format, a file of each, and the signals that are in it."""
    first, second = (make_signal(seconds, rate_hz, channels, seed) for seed, seconds in enumerate(SECONDS))
    tail = np.zeros((kind.tail_samples, channels), np.float32)
    ended, other_ended = np.concatenate([first, tail]), np.concatenate([second, tail])
    whole, other = encode(kind.seekable, ended, rate_hz), encode(kind.seekable, other_ended, rate_hz)
    yield "seekable", whole, [first]
    yield "joined", whole + other, [first, second]
    yield "cut", whole[: round(KEPT_FRACTION * len(whole))], [first]
    nameless = without_size(whole)
    if nameless is not None:
        yield "no size", nameless, [first]
    if kind.piped is not None:
        piped = encode(kind.piped, ended, rate_hz, to_pipe=True)
        yield "piped", piped, [first]
        yield "piped, cut", piped[: round(KEPT_FRACTION * len(piped))], [first]


def holds(found: Signal, signals: list[Signal], likeness: float) -> bool:
    """Say whether the signals are in what was decoded, one after the other, whole, and little besides them."""
    allowed, fill = round(MOST_SECONDS_ADDED * AUDIO.sample_rate_hz), AUDIO.sample_rate_hz // 50
    if not likeness:
        return -fill <= len(found) - sum(map(len, signals)) <= allowed * len(signals)
    for signal in signals:
        window = found[: len(signal) + allowed]
        lag = find_lag(window, signal)
        part = window[lag : lag + len(signal)]
        # What a codec drops at the end is a part of a frame that it could not fill.
        if len(part) < len(signal) - fill or correlation(part, signal) < likeness:
            return False
        tail = slice(len(part) - len(signal) // 4, len(part))
        if correlation(part[tail], signal[tail]) < likeness - 0.1:
            return False
        found = found[lag + len(part) :]
    return len(found) <= allowed


def find_lag(found: Signal, signal: Signal) -> int:
    """Return at which sample a signal starts, by cross-correlation."""
    size = len(found) + len(signal)
    product = np.fft.rfft(found, size) * np.conj(np.fft.rfft(signal, size))
    return int(np.argmax(np.fft.irfft(product, size)[: max(1, len(found))]))


def correlation(found: Signal, signal: Signal) -> float:
    """Return the correlation of the samples that both have."""
    signal = signal[: len(found)]
    return float(np.dot(found, signal) / (np.linalg.norm(found) * np.linalg.norm(signal) + 1e-9))


def measure(content: bytes, signals: list[Signal], rate_hz: int, likeness: float) -> tuple[str, str, float]:
    """Return what becomes of a file, the words of the refusal, and the seconds that were decoded."""
    try:
        recording = decode(content, AUDIO)
    except MissingDecoderError as error:
        return "extra", error.detail, 0.0
    except UnusableClipError as error:
        return error.reason, error.detail, 0.0
    found = recording.samples.astype(np.float32) / np.float32(FULL_SCALE) * np.float32(recording.scale)
    mono = [soxr.resample(signal.mean(axis=1), rate_hz, AUDIO.sample_rate_hz) for signal in signals]
    return DECODED if holds(found, mono, likeness) else LOST, "", recording.duration_seconds


def seconds_by_ffmpeg(content: bytes) -> float:
    """Return how much FFmpeg decodes, until it fails."""
    seconds = 0.0
    with contextlib.suppress(av.FFmpegError), av.open(io.BytesIO(content)) as file:
        for frame in file.decode(audio=0):
            seconds += frame.samples / frame.sample_rate
    return seconds


@cache
def measure_all() -> tuple[Case, ...]:
    """Measure every format in every situation, at all its rates and with all its channels."""
    return tuple(
        _case(kind, rate_hz, channels, *file)
        for kind in FORMATS
        for rate_hz in kind.rates
        for channels in kind.channels
        for file in make_files(kind, rate_hz, channels)
    )


def _case(kind: Format, rate_hz: int, channels: int, situation: str, content: bytes, signals: list[Signal]) -> Case:
    outcome, detail, seconds = measure(content, signals, rate_hz, kind.likeness)
    with mock.patch.object(reading, "is_installed", return_value=False):
        without = measure(content, signals, rate_hz, kind.likeness)[0]
    if outcome == LOST and "cut" in situation:
        outcome = UNNOTICED
    if without == LOST and "cut" in situation:
        without = UNNOTICED
    encoded = sum(len(signal) for signal in signals) / rate_hz
    by_ffmpeg = seconds_by_ffmpeg(content)
    return Case(kind.name, situation, rate_hz, channels, outcome, detail, seconds, encoded, by_ffmpeg, without)


def outcomes(name: str, situation: str, key: Callable[[Case], str]) -> str:
    """Return the cell of a table: what became of all files, in alphabetical order where that differs."""
    found = {key(case) for case in measure_all() if (case.format, case.situation) == (name, situation)}
    return " or ".join(sorted(found)) or "–"


def table(formats: list[str], key: Callable[[Case], str]) -> list[str]:
    """Return the lines of a table."""
    rows = [[name, *(outcomes(name, situation, key) for situation in SITUATIONS)] for name in formats]
    head = ["format", *SITUATIONS]
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def needs_extra(name: str) -> bool:
    """Say whether a format is read with PyAV alone."""
    return outcomes(name, "seekable", lambda case: case.without_extra) == "extra"


def page() -> str:
    """Return the whole of docs/formats.md: its words as they stand, and its tables as they are measured."""
    names = [kind.name for kind in FORMATS]
    parts = {
        "base": table([name for name in names if not needs_extra(name)], lambda case: case.without_extra),
        "extra": table([name for name in names if needs_extra(name)], lambda case: case.outcome),
    }
    text = PAGE.read_text()
    for name, lines in parts.items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, rest = text.split(start)
        text = before + start + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    if "--cases" in sys.argv:
        for case in measure_all():
            print(*case, sep="\t")
    else:
        PAGE.write_text(page())
