"""CLAP's inputs as batched torch code: short clips are padded and long ones fused, as in `ClapFeatureExtractor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls.models.spectrograms import FrontEnd, mel_powers, on_device

_MIDDLE: Final = (0.5, 0.5, 0.5)


class ClapFrontEnd(FrontEnd):
    """Log-mel frames in decibels of clips that fill one window.

    If the extractor's truncation is `fusion`, a clip longer than the window gives four inputs, which the model fuses:
    the whole clip, shrunk, and a crop from each third. A shorter clip gives four identical inputs, and is not fused.
    If no clip of a batch is longer, the extractor marks a random short clip as longer. That is not done here, because
    the clip's logits would depend on the draw.
    """

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, 1, frames, mel_bins) or with fusion (batch, 4, ...), and `is_longer`."""
        window = self.extractor.nb_max_samples
        frames = self._frames(_filled(waveforms, lengths, window, self.extractor.padding))
        features = frames[:, None].expand(-1, 4 if self._fuses else 1, -1, -1).contiguous()
        is_longer = torch.zeros(len(lengths), 1, dtype=torch.bool, device=waveforms.device)
        for row in (lengths > window).nonzero()[:, 0].tolist() if self._fuses else ():
            long = self._frames(waveforms[row : row + 1, : int(lengths[row])])[0]
            is_longer[row] = len(long) > frames.shape[1]
            where = _MIDDLE if places is None else places[row].tolist()
            features[row] = _fused(long, frames.shape[1], where) if is_longer[row] else long
        return {"input_features": features, "is_longer": is_longer}

    @property
    def _fuses(self) -> bool:
        return bool(self.extractor.truncation == "fusion")

    def _frames(self, waveforms: Tensor) -> Tensor:
        """Return log-mel frames, float32 (batch, frames, mel_bins)."""
        size, hop = self.extractor.fft_window_size, self.extractor.hop_length
        values = self.extractor.mel_filters if self._fuses else self.extractor.mel_filters_slaney
        taper = torch.hann_window(size, dtype=torch.float64, device=waveforms.device)
        mirrored = F.pad(waveforms[:, None].double(), (size // 2, size // 2), mode="reflect")[:, 0]
        powers = mel_powers(mirrored.unfold(1, size, hop), taper, size, on_device(values, waveforms))
        return (10 * powers.clamp_(min=1e-10).log10_()).float()


def _filled(waveforms: Tensor, lengths: Tensor, samples: int, padding: str) -> Tensor:
    """Cut or pad each clip to one length: with repeats of itself, with whole repeats, or with zeros."""
    filled = F.pad(waveforms, (0, samples - waveforms.shape[1]))
    short = () if padding == "pad" else (lengths < samples).nonzero()[:, 0].tolist()
    for row in short:
        length = int(lengths[row])
        times = samples // length + (padding == "repeat")
        repeated = waveforms[row, :length].repeat(times)[:samples]
        filled[row, : len(repeated)] = repeated
    return filled


def _fused(frames: Tensor, kept: int, places: Sequence[float]) -> Tensor:
    """Return a long clip's frames, (frames, mel_bins), shrunk to `kept`, and three crops: (4, kept, mel_bins).

    Args:
        frames: More than `kept`.
        kept: Number of frames of the window.
        places: Start of each crop within its third, in [0, 1).
    """
    shrunk = F.interpolate(frames[None, None], size=(kept, frames.shape[1]), mode="bilinear", align_corners=False)
    thirds = np.array_split(np.arange(len(frames) - kept + 1), 3)
    # If a clip is hardly longer, some thirds are empty: their crops are taken from the beginning.
    starts = [third[int(place * len(third))] if len(third) else 0 for third, place in zip(thirds, places, strict=True)]
    return torch.stack([shrunk[0, 0], *(frames[start : start + kept] for start in starts)])
