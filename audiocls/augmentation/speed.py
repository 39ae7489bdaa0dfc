"""Changes of speed, and of pitch at the same speed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, at_levels_of, fit_samples, valid_samples

# Longer windows resolve low pitches, shorter ones preserve onsets; 32 to 64 ms are usual for speech and music.
_WINDOW_SECONDS = 0.04
# Silence after a clip before resampling, as the Fourier method wraps its end around to its beginning.
_GUARD_SAMPLES = 128


class Speed:
    """Resamples each clip by its factor, and cuts it at the length of the model's input.

    Source:
        Ko et al. 2015, "Audio Augmentation for Speech Recognition".
    """

    def __init__(self, settings: params.Speed, max_samples: int) -> None:
        self._settings = settings
        self._max_samples = max_samples

    def draw(self, draws: Draws) -> Drawn:
        """Draw `factor`."""
        return {"factor": draws.uniform(self._settings.min_factor, self._settings.max_factor)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Resample."""
        lengths = (sounds.lengths / drawn["factor"]).round().long().clamp(min=1, max=self._max_samples)
        waveforms = resample(sounds.waveforms, drawn["factor"], int(lengths.max()))
        return Sounds(waveforms * valid_samples(lengths, waveforms.shape[1]), lengths, sounds.targets)


class Pitch:
    """Stretches each clip with a phase vocoder, and resamples it back to its length."""

    def __init__(self, settings: params.Pitch, sample_rate_hz: int) -> None:
        self._settings = settings
        self._fft_size = 2 ** round(math.log2(_WINDOW_SECONDS * sample_rate_hz))

    def draw(self, draws: Draws) -> Drawn:
        """Draw `semitones`."""
        return {"semitones": draws.uniform(self._settings.min_semitones, self._settings.max_semitones)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Shift the pitch."""
        ratio = torch.pow(2.0, drawn["semitones"] / 12)
        stretched = stretch(sounds.waveforms, 1 / ratio, self._fft_size)
        shifted = sounds.sounding(resample(stretched, ratio, sounds.waveforms.shape[1]))
        # The vocoder loses up to 1.2 dB at an octave, as the phases of neighboring bins drift apart.
        return at_levels_of(sounds, shifted)


def resample(waveforms: Tensor, factors: Tensor, samples: int) -> Tensor:
    """Resample each clip by its factor without aliasing; above 1 is faster and higher.

    Args:
        waveforms: Shape (clips, samples).
        factors: Shape (clips,).
        samples: Number of samples to return per clip.
    """
    size = waveforms.shape[1] + _GUARD_SAMPLES
    spectra = torch.fft.rfft(waveforms, n=size)
    rows = []
    for spectrum, factor in zip(spectra, factors.tolist(), strict=True):
        resized = max(2, round(size / factor))
        kept = fit_samples(spectrum[: resized // 2 + 1], resized // 2 + 1)
        rows.append(fit_samples(torch.fft.irfft(kept, n=resized) * (resized / size), samples))
    return torch.stack(rows)


def stretch(waveforms: Tensor, rates: Tensor, fft_size: int) -> Tensor:
    """Change the speed of each clip at the same pitch with a phase vocoder; rates above 1 are faster.

    Args:
        waveforms: Shape (clips, samples).
        rates: Shape (clips,).
        fft_size: Window length in samples.

    Returns:
        Shape (clips, samples / lowest rate).

    Source:
        Flanagan and Golden 1966, "Phase Vocoder".
    """
    hop = fft_size // 4
    window = torch.hann_window(fft_size, device=waveforms.device)
    spectra = torch.stft(waveforms, fft_size, hop, window=window, pad_mode="constant", return_complex=True)
    frames = math.ceil(spectra.shape[2] / float(rates.min()))
    places = torch.arange(frames, device=waveforms.device) * rates[:, None]
    stretched = _interpolate(spectra, places, hop)
    samples = math.ceil(waveforms.shape[1] / float(rates.min()))
    return torch.istft(stretched, fft_size, hop, window=window, length=samples)


def _interpolate(spectra: Tensor, places: Tensor, hop: int) -> Tensor:
    """Interpolate spectra, (clips, bins, frames), at `places` between frames, with continuous phases."""
    bins, frames = spectra.shape[1:]
    below = places.long().clamp(max=frames - 1)
    spectra = torch.cat([spectra, spectra.new_zeros(spectra.shape[0], bins, 1)], dim=2)
    index = below[:, None].expand(-1, bins, -1)
    share = (places - below).clamp(max=1)[:, None]
    magnitudes, phases = spectra.abs(), spectra.angle()
    levels = torch.lerp(magnitudes.gather(2, index), magnitudes.gather(2, index + 1), share)
    expected = (2 * math.pi * hop / (2 * (bins - 1)) * torch.arange(bins, device=places.device))[:, None]
    surprise = torch.remainder(phases.diff(dim=2) - expected + math.pi, 2 * math.pi) - math.pi
    steps = torch.cat([phases[..., :1], (expected + surprise).gather(2, index)[..., :-1]], dim=2)
    return torch.polar(levels, steps.cumsum(2))
