"""Log-mel spectrograms as batched torch code, the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization
from transformers.audio_utils import mel_filter_bank

from audiocls.errors import ParamsError

# Powers are relative to the clip's mean: 1e-6 resolves the 60 dB below it and treats the rest as silence.
FLOOR = 1e-6
# Far below the power of one 16-bit step, so that only digital silence is not normalized in level.
SMALLEST_LEVEL = 1e-20


class LogMel(nn.Module):
    """Computes log-mel frames that do not depend on the clip's gain or padding.

    Frame t is centered on sample t * hop_samples, and is valid if that sample is.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        sampling_rate: int,
        num_mel_bins: int,
        window_samples: int,
        hop_samples: int,
        fft_size: int,
        min_frequency_hz: float,
        max_frequency_hz: float,
    ) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.fft_size = fft_size
        self.window_samples = window_samples
        self.band = (num_mel_bins, min_frequency_hz, max_frequency_hz, sampling_rate)
        # Not persistent: they follow from the config, and a checkpoint should only hold learned weights.
        self.register_buffer("window", self._window(), persistent=False)
        self.register_buffer("filters", self._filters(), persistent=False)

    def _window(self) -> Tensor:
        return torch.hann_window(self.window_samples)

    def _filters(self) -> Tensor:
        filters = mel_filter_bank(self.fft_size // 2 + 1, *self.band, norm="slaney", mel_scale="slaney")
        empty = int((filters.max(axis=0) == 0).sum())
        if empty:
            raise ParamsError(
                f"{empty} of num_mel_bins={self.band[0]} are always empty, because fft_size={self.fft_size} is too "
                "coarse for them. Raise fft_size, or lower num_mel_bins."
            )
        return torch.as_tensor(filters, dtype=torch.float32)

    def reset_buffers(self) -> None:
        """Fill the buffers again: `from_pretrained` of transformers 5 builds the model without allocating them."""
        initialization.copy_(self.window, self._window())
        initialization.copy_(self.filters, self._filters())

    def forward(self, waveforms: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute frames in float32, regardless of autocast and the type of the weights.

        Args:
            waveforms: Shape (batch, samples), in [-1, 1].
            mask: Boolean (batch, samples), True where a sample is real.

        Returns:
            Log-mel frames, float32 (batch, frames, mel_bins), zero where not valid, and their mask, boolean
            (batch, frames); frames = ceil(samples / hop_samples).
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            frame_mask = mask[:, :: self.hop_samples]
            mel = self._mel(waveforms.float() * mask, frame_mask.shape[1])
            level = (mel.mean(-1) * frame_mask).sum(1) / frame_mask.sum(1).clamp(min=1)
            relative = mel / level.clamp(min=SMALLEST_LEVEL)[:, None, None]
            return torch.log(relative + FLOOR) * frame_mask[:, :, None], frame_mask

    def _mel(self, waveforms: Tensor, num_frames: int) -> Tensor:
        """Return the power in each mel bin, shape (batch, num_frames, mel_bins)."""
        spectrum = torch.stft(
            waveforms,
            n_fft=self.fft_size,
            hop_length=self.hop_samples,
            win_length=self.window_samples,
            window=self.window.float(),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        # Interleave real and imaginary parts and repeat each filter: the matrix product then also sums their squares,
        # which saves two passes over the largest array of a step.
        parts = torch.view_as_real(spectrum.transpose(1, 2)[:, :num_frames]).flatten(2)
        return parts.square() @ self.filters.float().repeat_interleave(2, dim=0)


def mask_spans(frames: Tensor, dim: int, share: float, length: int) -> Tensor:
    """Zero random spans along one dimension, separately for each clip, with torch's generator of the device.

    Args:
        frames: Shape (batch, frames, mel_bins), with mean zero, so that zero carries no information.
        dim: 1 masks frames, 2 masks mel bins.
        share: Expected masked fraction of the dimension, slightly less if spans overlap.
        length: Length of a span.

    Source:
        Park et al. 2019, "SpecAugment", arXiv:1904.08779.
    """
    starts = torch.rand(frames.shape[0], frames.shape[dim], device=frames.device) < share / length
    covered = F.max_pool1d(F.pad(starts.float(), (length - 1, 0)), length, stride=1)
    return frames * (1 - covered).unsqueeze(3 - dim).to(frames.dtype)
