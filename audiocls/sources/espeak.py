"""Speech synthesis with espeak-ng, run in this process through the library in the `espeakng-loader` wheel.

espeak-ng is licensed under GPL-3.0 and is a separate extra, so it is not imported before an `Espeak` is created.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import DataError, MissingExtraError

# From speak_lib.h of espeak-ng 1.52.
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: speak in the calling thread, hand the samples to the callback
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: if its data is missing, return an error instead of exiting
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8

# At espeak-ng's default of 100, the loudest variants overflow 16 bits and its gain control attenuates them mid-word.
_VOLUME_PERCENT = 40

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Prosody:
    """Speaking rate, pitch and pitch range of a voice, in espeak-ng's units.

    Attributes:
        words_per_minute: 80 to 450; 175 is espeak-ng's default.
        pitch: 0 to 99; 50 is the voice's default pitch, 0 is half of it, 99 is twice as high.
        pitch_range: 0 to 99; 50 is the voice's default intonation, 0 is monotone.
    """

    words_per_minute: int
    pitch: int
    pitch_range: int


class Espeak:
    """A private copy of libespeak-ng: the same utterances in the same order give the same samples.

    The library keeps the phase of its pitch flutter in a static variable that is never reset (1.52), so a
    second corpus from the same loaded library differs from the first. Each `Espeak` therefore loads its own
    copy of 0.7 MB, which stays loaded until the process ends. Instances share no global state, but one
    `Espeak` must be used by only one thread at a time.

    Raises:
        MissingExtraError: espeakng-loader is not installed, or its data cannot be opened.
    """

    def __init__(self) -> None:
        loader = _import_loader()
        self._data_folder = Path(loader.get_data_path())
        self._library = _load_private_copy(Path(loader.get_library_path()))
        self._chunks: list[bytes] = []
        self._callback = _SynthCallback(self._collect)  # the library holds a bare pointer to it
        self.sample_rate_hz = self._initialize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.espeak_Terminate()

    def speak(self, text: str, accent: str, variant: str, prosody: Prosody, noise_seed: int) -> NDArray[np.float32]:
        """Speak `text` and return its waveform.

        Args:
            text: A few words; the punctuation affects the intonation.
            accent: A file name under the data's `lang/*/`, such as "en-us".
            variant: A file name under the data's `voices/!v/`, such as "f3".
            prosody: Rate and pitch.
            noise_seed: Seeds the breath noise of the variants that have it.

        Returns:
            Mono, shape (samples,), float32 in [-1, 1], at `sample_rate_hz`.

        Raises:
            DataError: `text` contains nothing to speak.
            MissingExtraError: The installed espeak-ng data has no such accent or variant.
        """
        self._set_voice(accent, variant)
        self._library.espeak_SetParameter(_RATE, prosody.words_per_minute, 0)
        self._library.espeak_SetParameter(_VOLUME, _VOLUME_PERCENT, 0)
        self._library.espeak_SetParameter(_PITCH, prosody.pitch, 0)
        self._library.espeak_SetParameter(_RANGE, prosody.pitch_range, 0)
        self._library.espeak_ng_SetRandSeed(noise_seed)
        encoded = text.encode()
        self._chunks.clear()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        waveform = np.frombuffer(b"".join(self._chunks), dtype=np.int16).astype(np.float32) / np.float32(32_768)
        if status != 0 or not waveform.any():
            raise DataError(f"espeak-ng found nothing to speak in {text!r} (status {status}). Pass at least one word.")
        return waveform

    def _collect(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0  # 1 would stop the synthesis

    def _initialize(self) -> int:
        rate_hz: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(self._data_folder).encode(), _DONT_EXIT)
        if rate_hz <= 0:
            raise MissingExtraError(
                f"espeak-ng cannot open its data in {self._data_folder}. Reinstall it: "
                "pip install --force-reinstall 'audiocls[sample]'"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        return rate_hz

    def _set_voice(self, accent: str, variant: str) -> None:
        # espeak-ng silently ignores an unknown variant, so check that its file exists.
        known = (self._data_folder / "voices" / "!v" / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(f"{accent}+{variant}".encode()) != 0:
            raise MissingExtraError(
                f"the espeak-ng data in {self._data_folder} has no voice {accent}+{variant}. "
                "Install the version that audiocls supports: pip install 'audiocls[sample]'"
            )


def _import_loader() -> Any:
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingExtraError(
            "the sample corpus needs espeak-ng, which is licensed under GPL-3.0 and is a separate extra: "
            "pip install 'audiocls[sample]'"
        ) from error
    return espeakng_loader


def _load_private_copy(path: Path) -> ctypes.CDLL:
    # Windows locks the file of a loaded library; on other systems it can be deleted immediately.
    with tempfile.TemporaryDirectory(prefix="audiocls-espeak-", ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(str(shutil.copy(path, folder)))
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,  # text
        ctypes.c_size_t,  # its size in bytes, with the terminating 0
        ctypes.c_uint,  # start position
        ctypes.c_int,  # unit of the position
        ctypes.c_uint,  # end position, 0 = none
        ctypes.c_uint,  # flags
        ctypes.c_void_p,  # out: message identifier
        ctypes.c_void_p,  # user data
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    return library
