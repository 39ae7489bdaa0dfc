"""Two waveforms, laid on each other: do they hold the same recording?

The correlation of the plain waveforms is that of the lowest harmonics, where short vowels of one speaker are alike, up
to 0.95 in spoken syllables. With the spectrum made three quarters flat, the harmonics above have their say, and no two
of those syllables have more than 0.71, while copies keep 0.75 even after a low bit rate.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

# Chosen on the letters corpus, where no two recordings reach 0.71; see benchmarks/near_duplicates.py.
LEAST_SIMILARITY: Final = 0.75
_LEAST_OVERLAP: Final = 0.5
# A hum or a tone correlates with itself wherever it is put: where the peak does not stand out, nothing is known.
_MOST_REPETITION: Final = 0.6
_REPETITION_SECONDS: Final = 0.1  # beyond what the pitch of a voice repeats
_LOWEST_HZ, _HIGHEST_HZ = 150.0, 3_400.0  # the telephone's band, which resampling and codecs leave
# Lags a second. Half a lag off, 8,000 would cost a copy a quarter of its correlation at the upper end of the band.
_LAGS_HZ: Final = 32_000
_GLANCE_LAGS_HZ: Final = 16_000
_FLATNESS: Final = 0.75
_SMOOTHING_HZ: Final = 200.0  # wider than the distance of most voices' harmonics
_FLOOR: Final = 1e-4  # 40 dB below the strongest band, there is noise to be made flat
_LEAST_SECONDS, _MOST_SECONDS = 0.15, 4.0  # of what is compared
_SLACK_SECONDS: Final = 0.05  # how far an anchor may be off
GLANCE_SECONDS: Final = 0.4
GLANCE_SIMILARITY: Final = 0.5


class Match(NamedTuple):
    """How two waveforms lie on each other."""

    similarity: float  # correlation of the flattened waveforms, in [0, 1]; a copy turned upside down is a copy
    shift_seconds: float  # what starts the second clip stands here in the first
    overlap: float  # share of energy of one clip that the other has too; of the clip where it is more
    repetition: float  # how well the longer clip correlates with itself elsewhere, relative to the similarity

    @property
    def is_copy(self) -> bool:
        """Whether two clips that lie on each other like this hold the same recording."""
        return (
            self.similarity >= LEAST_SIMILARITY
            and self.overlap >= _LEAST_OVERLAP
            and self.repetition <= _MOST_REPETITION
        )


def glance(
    first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Correlate many pairs of pieces; below GLANCE_SIMILARITY, a pair is not worth comparing.

    Args:
        first: Shape (num_pairs, num_samples).
        second: The same shape; what is the same in both may be _SLACK_SECONDS apart.
        sample_rate_hz: Of both.

    Returns:
        The highest correlation of each pair, shape (num_pairs,), and by how many seconds the second is early there.
    """
    curve, seconds = _correlation(first, second, sample_rate_hz, _GLANCE_LAGS_HZ)
    near = np.flatnonzero(np.abs(seconds) <= _SLACK_SECONDS)
    peak = curve[:, near].argmax(axis=1)
    return curve[np.arange(len(curve)), near[peak]], seconds[near[peak]]


def compare(
    first: NDArray[np.float32], second: NDArray[np.float32], shift_seconds: float, sample_rate_hz: int
) -> Match:
    """Lay two waveforms on each other, `shift_seconds` apart or a little more or less, and correlate them.

    Args:
        first: Mono, shape (num_samples,).
        second: Mono, shape (num_samples_2,).
        shift_seconds: What starts the second stands about here in the first.
        sample_rate_hz: Of both.
    """
    shift = round(shift_seconds * sample_rate_hz)
    most = round(_MOST_SECONDS * sample_rate_hz)
    similarity, lag_seconds = _best(*_overlap(first, second, shift, most), sample_rate_hz)
    if similarity < LEAST_SIMILARITY:
        return Match(similarity, shift_seconds, 0.0, 0.0)
    whole = _overlap(first, second, shift, max(len(first), len(second)))
    shares = (float(part @ part) / float(clip @ clip) for part, clip in zip(whole, (first, second), strict=True))
    longer = first if len(first) > len(second) else second
    repetition = _repetition(_overlap(longer, longer, 0, most)[0], sample_rate_hz) / similarity
    return Match(similarity, shift / sample_rate_hz + lag_seconds, max(shares), repetition)


def _overlap(
    first: NDArray[np.float32], second: NDArray[np.float32], shift: int, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut both to what lies on each other, and to the loudest `most` samples of that."""
    start, stop = max(0, shift), max(0, shift, min(len(first), len(second) + shift))
    if stop - start > most:
        energy = np.square(first[start:stop]).cumsum(dtype=np.float64)
        start += int((energy[most:] - energy[:-most]).argmax())
        stop = start + most
    return first[start:stop], second[start - shift : stop - shift]


def _best(first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int) -> tuple[float, float]:
    """Return the highest correlation within the slack, and by how many seconds the second is early there."""
    if len(first) < _LEAST_SECONDS * sample_rate_hz:
        return 0.0, 0.0
    curve, seconds = _correlation(first[None], second[None], sample_rate_hz, _LAGS_HZ)
    near = np.flatnonzero(np.abs(seconds) <= _SLACK_SECONDS)
    peak = near[curve[0, near].argmax()]
    return min(1.0, float(curve[0, peak])), float(seconds[peak])


def _repetition(clip: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return how well a clip correlates with itself, shifted by a tenth of a second to half of its length."""
    length = len(clip) / sample_rate_hz
    curve, seconds = _correlation(clip[None], clip[None], sample_rate_hz, _GLANCE_LAGS_HZ)
    away = np.abs(seconds)
    beside = (away > min(_REPETITION_SECONDS, length / 3)) & (away < length / 2)
    # Of two pieces of one tone the less lies on each other, the further they are shifted.
    return float((curve[0, beside] / (1 - away[beside] / length)).max(initial=0.0))


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int, lags_hz: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the absolute correlation of each pair at every lag, shape (num_pairs, num_lags), and the lags in seconds.

    A lag is negative in the second half, as the transform has it. Long lags of either sign wrap around onto each other,
    where less than half of the pieces lies on each other.
    """
    samples = first.shape[1] + round(_SLACK_SECONDS * sample_rate_hz)
    size = scipy.fft.next_fast_len(samples, real=True)
    low, high = (round(hz * size / sample_rate_hz) for hz in (_LOWEST_HZ, min(_HIGHEST_HZ, 0.45 * sample_rate_hz)))
    spectra = [scipy.fft.rfft(pieces, size, axis=1)[:, low:high] for pieces in (first, second)]
    width = round(_SMOOTHING_HZ * size / sample_rate_hz)
    spectra = [_flattened(spectrum, width) for spectrum in spectra]
    energy = np.prod([np.square(np.abs(spectrum)).sum(axis=1) for spectrum in spectra], axis=0)
    lags = max(2 * high, round(size * lags_hz / sample_rate_hz))
    product = np.pad(spectra[0] * np.conj(spectra[1]), ((0, 0), (low, 0)))
    curve = np.abs(scipy.fft.irfft(product, lags, axis=1)) * (lags / 2 / np.sqrt(np.maximum(energy, 1e-30)))[:, None]
    seconds = np.arange(lags) * (size / lags / sample_rate_hz)
    seconds[lags // 2 + 1 :] -= size / sample_rate_hz
    return curve, seconds


def _flattened(spectrum: NDArray[np.complex64], width: int) -> NDArray[np.complex64]:
    """Divide a spectrum by its smoothed magnitude to the power of _FLATNESS."""
    power = scipy.ndimage.uniform_filter1d(np.square(np.abs(spectrum)), max(3, width), axis=1)
    power += np.float32(_FLOOR) * power.max(axis=1, keepdims=True) + np.float32(1e-20)
    return np.asarray(spectrum * power ** np.float32(-_FLATNESS / 2))
