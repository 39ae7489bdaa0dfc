"""Reverberation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiocls import params
from audiocls.augmentation.draws import Draws
from audiocls.augmentation.sounds import Drawn, Sounds, at_levels_of, fit_samples

# Later reflections are inaudible and cost time in every batch.
_LONGEST_SECONDS = 4.0


class Reverb:
    """Convolves with exponentially decaying noise.

    Source:
        Polack 1988, "La transmission de l'énergie sonore dans les salles".
    """

    def __init__(self, settings: params.Reverb, sample_rate_hz: int) -> None:
        self._settings = settings
        self._rate_hz = sample_rate_hz

    def draw(self, draws: Draws) -> Drawn:
        """Draw `rt60_seconds`."""
        least, most = self._settings.min_rt60_seconds, self._settings.max_rt60_seconds
        return {"rt60_seconds": draws.uniform(least, most)}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Convolve."""
        responses = self.responses(drawn["rt60_seconds"], draws)
        return convolve(sounds, responses)

    def responses(self, rt60_seconds: Tensor, draws: Draws) -> Tensor:
        """Create impulse responses, shape (clips, samples), whose first sample is the direct sound."""
        samples = math.ceil(min(_LONGEST_SECONDS, float(rt60_seconds.max())) * self._rate_hz) + 1
        seconds = torch.arange(samples, device=rt60_seconds.device) / self._rate_hz
        tail = draws.normal(samples) * torch.pow(10.0, -3 * seconds / rt60_seconds[:, None])
        tail = tail * (seconds <= rt60_seconds[:, None])  # so that it does not depend on longer ones in the batch
        tail[:, 0] = 0
        level = 10 ** (-self._settings.direct_to_reverberant_db / 20)
        tail = tail * (level / tail.norm(dim=1, keepdim=True))
        tail[:, 0] = 1
        return tail


class ImpulseResponse:
    """Convolves with measured responses; samples before the direct sound, the loudest sample, are cut off."""

    def __init__(self, responses: Sequence[Tensor], sample_rate_hz: int) -> None:
        """Take responses of shape (samples,), at the clips' rate."""
        direct = [response[int(response.abs().argmax()) :] for response in responses]
        longest = min(max(map(len, direct)), round(_LONGEST_SECONDS * sample_rate_hz))
        self._responses = torch.stack([fit_samples(response, longest) for response in direct])

    def draw(self, draws: Draws) -> Drawn:
        """Draw `response`, an index."""
        return {"response": draws.whole(0, len(self._responses))}

    def apply(self, sounds: Sounds, drawn: Drawn, draws: Draws) -> Sounds:
        """Convolve."""
        self._responses = self._responses.to(sounds.waveforms.device)
        return convolve(sounds, self._responses[drawn["response"]])


def convolve(sounds: Sounds, responses: Tensor) -> Sounds:
    """Convolve each clip with its response, (clips, samples); lengths and levels are preserved."""
    size = sounds.waveforms.shape[1] + responses.shape[1]
    size += -size % 256  # sizes with large prime factors take several times as long
    spectra = torch.fft.rfft(sounds.waveforms, n=size) * torch.fft.rfft(responses, n=size)
    wet = sounds.sounding(torch.fft.irfft(spectra, n=size))
    return at_levels_of(sounds, wet)
