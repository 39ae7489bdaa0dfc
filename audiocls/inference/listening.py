"""Sound to listen to, block by block: from a microphone, or from a recording in its place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.decoding import UnusableClipError
from audiocls.errors import DataError, MissingExtraError
from audiocls.inference.sources import name_of, stream
from audiocls.params import AudioParams

BLOCK_SECONDS: Final = 0.1

logger = logging.getLogger(__name__)


class Sound(NamedTuple):
    """Blocks of samples as they come, each (frames, channels) or (frames,), and their rate."""

    rate_hz: int
    blocks: Iterator[NDArray[Any]]


def record(microphone: str | None = None) -> Sound:
    """Listen to a microphone, at its own rate, without an end.

    Args:
        microphone: Part of its name, or its number; None: the default one.

    Raises:
        MissingExtraError: sounddevice or PortAudio is not installed.
        DataError: There is no such microphone, or it cannot be opened.
    """
    devices = _import_sounddevice()
    chosen = int(microphone) if microphone is not None and microphone.isdecimal() else microphone
    shown = "default microphone" if microphone is None else f"microphone {microphone}"
    with _faults_named(devices, shown):
        rate_hz = int(devices.query_devices(chosen, kind="input")["default_samplerate"])
        opened = devices.InputStream(samplerate=rate_hz, device=chosen, channels=1, dtype="float32")
        opened.start()
    return Sound(rate_hz, _recorded(devices, opened, round(rate_hz * BLOCK_SECONDS), shown))


@contextmanager
def _faults_named(devices: Any, microphone: str) -> Iterator[None]:
    try:
        yield
    except (devices.PortAudioError, ValueError) as error:
        raise DataError(
            f"{microphone}: cannot be used: {error}. `python -m sounddevice` lists what there is."
        ) from error


def _recorded(devices: Any, opened: Any, size: int, microphone: str) -> Iterator[NDArray[np.float32]]:
    is_told = False
    with closing(opened), _faults_named(devices, microphone):
        while True:
            block, has_lost_samples = opened.read(size)
            if has_lost_samples and not is_told:
                logger.warning("the model is slower than the sound: samples were lost; use a longer --hop.")
                is_told = True
            yield block


def replay(path: str | Path, audio: AudioParams) -> Sound:
    """Read a recording of any format as if it were coming from a microphone, as fast as it is taken.

    Args:
        path: Or a URI.
        audio: Of the model, at whose rate the samples are.

    Raises:
        UnusableClipError: While the blocks are read: the recording cannot be used.
    """
    return Sound(audio.sample_rate_hz, _read(path, audio))


def _read(path: str | Path, audio: AudioParams) -> Iterator[NDArray[np.float32]]:
    size = round(audio.sample_rate_hz * BLOCK_SECONDS)
    try:
        for block in stream(path, audio):
            yield from np.split(block, range(size, len(block), size))
    except UnusableClipError as error:
        raise UnusableClipError(error.reason, f"{name_of(path)}: {error.detail}") from error


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise MissingExtraError("a microphone needs sounddevice: pip install 'audiocls[microphone]'") from error
    except OSError as error:
        raise MissingExtraError(
            f"a microphone needs the library PortAudio: {error}; on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice
