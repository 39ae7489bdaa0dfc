"""Align two waveforms and decide whether they contain the same recording.

The correlation of the plain waveforms is dominated by the lowest harmonics, in which short vowels of one speaker are
similar: it reaches 0.95 in spoken syllables. With the spectrum flattened by three quarters, the higher harmonics
contribute too. Then no two of those syllables exceed 0.71, while copies keep 0.75 even after a low bit rate.

The significance of a correlation depends on the sound. All clicks correlate, and so do the abrupt edges of two tones,
because they contain little that could differ. So the degrees of freedom N are estimated as the bandwidth times the
duration that the energy fills. The evidence -(N - 1.5) ln(1 - r^2) measures how improbable a correlation r of two
independent noises is, and must exceed a threshold. If the plain waveforms of the whole band are almost identical, their
evidence is added: a kick drum, or a chirp above the telephone band, has its evidence there.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

# Chosen on the letters corpus, where no two recordings reach 0.71; see benchmarks/near_duplicates.py.
LEAST_SIMILARITY: Final = 0.75
_LEAST_OVERLAP: Final = 0.5
# A hum or a tone correlates with itself at any shift: a peak that is not distinct is no evidence of a copy.
_MOST_REPETITION: Final = 0.6
_REPETITION_SECONDS: Final = 0.1  # longer than the self-correlation of a voice's pitch
# Lags per second. With 8,000, an error of half a lag would cost a copy a quarter of its correlation at the upper end of
# the band.
_LAGS_HZ: Final = 32_000
_GLANCE_LAGS_HZ: Final = 16_000
_LEAST_SECONDS, _MOST_SECONDS = 0.15, 4.0  # of the compared segment
_SLACK_SECONDS: Final = 0.05  # tolerance for the position of an anchor
GLANCE_SECONDS: Final = 0.4
GLANCE_SIMILARITY: Final = 0.5
# Nearly all pairs of different synthetic sounds have less, and copies of short vowels in the letters corpus have more.
_LEAST_EVIDENCE: Final = 12.0
_FITTED: Final = 1.5  # degrees of freedom that gain and lag use up; a click has no more
_LEAST_WHOLE_SIMILARITY: Final = 0.97  # different kick drums reach up to 0.95
_ROUNDING: Final = 1e-5  # lower bound of 1 - r^2
_SMOOTHING_HZ: Final = 200.0  # wider than the spacing of most voices' harmonics
_FLOOR: Final = 1e-4  # 40 dB below the strongest band there is only noise, which must not be flattened


class _Reading(NamedTuple):
    """The part of a spectrum that is correlated."""

    lowest_hz: float
    highest_hz: float
    flatness: float  # 0 leaves the spectrum as it is, 1 makes it white


_TELEPHONE: Final = _Reading(150.0, 3_400.0, 0.75)  # the band that survives resampling and codecs
_WHOLE: Final = _Reading(30.0, 7_600.0, 0.0)


class _Peak(NamedTuple):
    similarity: float
    lag_seconds: float  # by which the second is early at the peak
    evidence: float


class Match(NamedTuple):
    """The alignment of two waveforms."""

    similarity: float  # correlation of the flattened waveforms, in [0, 1]; a copy with inverted sign is a copy
    shift_seconds: float  # position in the first clip at which the second clip starts
    overlap: float  # fraction of a clip's energy in the shared part; the larger value of the two clips
    repetition: float  # correlation of the longer clip with itself at other shifts, relative to the similarity
    evidence: float  # that the similarity is not due to chance; see the module docstring

    @property
    def is_copy(self) -> bool:
        """Whether the two clips contain the same recording."""
        return (
            self.similarity >= LEAST_SIMILARITY
            and self.overlap >= _LEAST_OVERLAP
            and self.repetition <= _MOST_REPETITION
            and self.evidence >= _LEAST_EVIDENCE
        )


def glance(
    first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Correlate many pairs of short pieces; a pair below GLANCE_SIMILARITY is not worth comparing.

    Args:
        first: Shape (num_pairs, num_samples).
        second: Same shape; matching content may be shifted by up to _SLACK_SECONDS.
        sample_rate_hz: Of both.

    Returns:
        The highest correlation of each pair, shape (num_pairs,), and by how many seconds the second is early there.
    """
    spectra = _spectra(first, second, sample_rate_hz, _TELEPHONE)
    curve, seconds = _correlation(spectra, _GLANCE_LAGS_HZ)
    near = np.flatnonzero(np.abs(seconds) <= _SLACK_SECONDS)
    peak = curve[:, near].argmax(axis=1)
    return curve[np.arange(len(curve)), near[peak]], seconds[near[peak]]


def compare(
    first: NDArray[np.float32], second: NDArray[np.float32], shift_seconds: float, sample_rate_hz: int
) -> Match:
    """Align two waveforms at about `shift_seconds` and correlate them.

    Args:
        first: Mono, shape (num_samples,).
        second: Mono, shape (num_samples_2,).
        shift_seconds: Approximate position in the first at which the second starts.
        sample_rate_hz: Of both.
    """
    first, second = first - first.mean(), second - second.mean()
    shift = round(shift_seconds * sample_rate_hz)
    most = round(_MOST_SECONDS * sample_rate_hz)
    shared = _overlap(first, second, shift, most)
    peak = _best(*shared, sample_rate_hz, _TELEPHONE)
    if peak.similarity < LEAST_SIMILARITY:
        return Match(peak.similarity, shift_seconds, 0.0, 0.0, 0.0)
    evidence = peak.evidence
    if evidence < _LEAST_EVIDENCE:
        whole = _best(*shared, sample_rate_hz, _WHOLE)
        evidence += whole.evidence if whole.similarity >= _LEAST_WHOLE_SIMILARITY else 0.0
    parts = _overlap(first, second, shift, max(len(first), len(second)))
    fractions = (float(part @ part) / float(clip @ clip) for part, clip in zip(parts, (first, second), strict=True))
    longer = first if len(first) > len(second) else second
    repetition = _repetition(_overlap(longer, longer, 0, most)[0], sample_rate_hz) / peak.similarity
    shift_seconds = shift / sample_rate_hz + peak.lag_seconds
    return Match(peak.similarity, shift_seconds, max(fractions), repetition, evidence)


def _overlap(
    first: NDArray[np.float32], second: NDArray[np.float32], shift: int, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut both to the part where they overlap, and to the loudest `most` samples of it."""
    start, stop = max(0, shift), max(0, shift, min(len(first), len(second) + shift))
    if stop - start > most:
        energy = np.square(first[start:stop]).cumsum(dtype=np.float64)
        start += int((energy[most:] - energy[:-most]).argmax())
        stop = start + most
    return first[start:stop], second[start - shift : stop - shift]


def _best(first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int, reading: _Reading) -> _Peak:
    """Return the highest correlation within the slack."""
    if len(first) < _LEAST_SECONDS * sample_rate_hz:
        return _Peak(0.0, 0.0, 0.0)
    spectra = _spectra(first[None], second[None], sample_rate_hz, reading)
    curve, seconds = _correlation(spectra, _LAGS_HZ)
    near = np.flatnonzero(np.abs(seconds) <= _SLACK_SECONDS)
    peak = near[curve[0, near].argmax()]
    similarity = min(1.0, float(curve[0, peak]))
    degrees = min(_degrees_of_freedom(spectrum[0]) for spectrum in spectra[:2]) - _FITTED
    evidence = -max(0.0, degrees) * math.log(max(1 - similarity**2, _ROUNDING))
    return _Peak(similarity, float(seconds[peak]), evidence)


def _degrees_of_freedom(spectrum: NDArray[np.complex64]) -> float:
    """Return the bandwidth times the duration that energy fills, by participation ratios: 1 to 1.5 for a click."""
    filled = 1.0
    # Twice as many samples as bins: otherwise a click gives 1 on a sample and 3 between two samples.
    for values in (spectrum, scipy.fft.ifft(spectrum, 2 * len(spectrum))):
        energy = np.square(np.abs(values), dtype=np.float64)
        filled *= energy.sum() ** 2 / max(float(energy @ energy), 1e-300) / len(values)
    return filled * len(spectrum)


def _repetition(clip: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return the correlation of a clip with itself, shifted by a tenth of a second to half of its length."""
    length = len(clip) / sample_rate_hz
    curve, seconds = _correlation(_spectra(clip[None], clip[None], sample_rate_hz, _TELEPHONE), _GLANCE_LAGS_HZ)
    away = np.abs(seconds)
    beside = (away > min(_REPETITION_SECONDS, length / 3)) & (away < length / 2)
    # The further a clip is shifted, the shorter its overlap with itself.
    return float((curve[0, beside] / (1 - away[beside] / length)).max(initial=0.0))


class _Spectra(NamedTuple):
    """The spectra of pairs of pieces, starting at bin `low`; each of shape (num_pairs, num_bins)."""

    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    low: int
    seconds: float  # of the transform


def _spectra(
    first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int, reading: _Reading
) -> _Spectra:
    samples = first.shape[1] + round(_SLACK_SECONDS * sample_rate_hz)
    seconds = (size := scipy.fft.next_fast_len(samples, real=True)) / sample_rate_hz
    low, high = (round(hz * seconds) for hz in (reading.lowest_hz, min(reading.highest_hz, 0.45 * sample_rate_hz)))
    width = round(_SMOOTHING_HZ * seconds)
    one, other = (
        _flattened(scipy.fft.rfft(pieces, size, axis=1)[:, low:high], width, reading.flatness)
        for pieces in (first, second)
    )
    return _Spectra(one, other, low, seconds)


def _correlation(spectra: _Spectra, lags_hz: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the absolute correlation of each pair at every lag, shape (num_pairs, num_lags), and the lags in seconds.

    Lags in the second half are negative, as in the FFT. Long lags of either sign wrap around onto each other, where the
    pieces overlap by less than half.
    """
    product = np.pad(spectra.first * np.conj(spectra.second), ((0, 0), (spectra.low, 0)))
    energy = np.prod([np.square(np.abs(each)).sum(axis=1) for each in spectra[:2]], axis=0)
    lags = max(2 * product.shape[1], round(spectra.seconds * lags_hz))
    curve = np.abs(scipy.fft.irfft(product, lags, axis=1)) * (lags / 2 / np.sqrt(np.maximum(energy, 1e-30)))[:, None]
    seconds = np.arange(lags) * (spectra.seconds / lags)
    seconds[lags // 2 + 1 :] -= spectra.seconds
    return curve, seconds


def _flattened(spectrum: NDArray[np.complex64], width: int, flatness: float) -> NDArray[np.complex64]:
    """Divide a spectrum by its smoothed magnitude to the power of `flatness`."""
    if not flatness:
        return spectrum
    power = scipy.ndimage.uniform_filter1d(np.square(np.abs(spectrum)), max(3, width), axis=1)
    power += np.float32(_FLOOR) * power.max(axis=1, keepdims=True) + np.float32(1e-20)
    return np.asarray(spectrum * power ** np.float32(-flatness / 2))
