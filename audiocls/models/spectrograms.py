"""The inputs of AST, wav2vec2-BERT, Whisper and CLAP as batched torch code, on the device of the waveforms.

Each front end computes for a batch what the family's extractor computes clip by clip, with the extractor's settings, so
that a saved model works with the plain extractor. They agree within `LARGEST_ERROR`. As in the extractors, everything
is computed in float64, except Whisper's transform in float32. In float32, quiet parts next to loud ones would be
rounding noise, and TF32 would make the sums inaccurate.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from audiocls.models.adapters.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES, frames_of

LARGEST_ERROR: Final = 1e-4
"""The largest absolute difference of the model's inputs from those of the family's extractor.

Measured on noise, chirps and tones that end in silence: 1e-6 for AST and Whisper, 1e-5 for CLAP, whose inputs are in
decibels, and 2e-5 for wav2vec2-BERT. For a steady tone wav2vec2-BERT differs by 1e-2: its bins hardly vary and are
divided by their deviation, which magnifies the extractor's rounding to float32.
"""

# Windows per transform: on a CPU they fit into its caches, on a GPU they keep it busy with little memory.
_WINDOWS_AT_A_TIME: Final = {"cpu": 512, "cuda": 32_768}
KALDI_FLOOR: Final = 1.192092955078125e-07
KALDI_FFT: Final = 512
PREEMPHASIS: Final = 0.97
_INT16: Final = 2**15


class FrontEnd:
    """Computes a model's inputs from a batch of waveforms."""

    def __init__(self, extractor: Any, samples: int) -> None:
        """Take the settings of the family's extractor; `samples` is the length of the longest clip."""
        self.extractor = extractor
        self.samples = samples

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the inputs.

        Args:
            waveforms: Float32 (batch, samples), in [-1, 1], shorter clips padded with zeros at the end.
            lengths: In samples, (batch,), each >= 1.
            places: Where to crop fused clips, in [0, 1), (batch, 3); None: in the middle.

        Returns:
            The outputs of the extractor, as tensors on the device of the waveforms.
        """
        raise NotImplementedError


class ASTFrontEnd(FrontEnd):
    """Kaldi log-mel frames, padded with zeros, normalized with the mean and deviation of the dataset."""

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_values`, (batch, max_length, mel_bins)."""
        most = self.extractor.max_length
        frames = _kaldi_frames(waveforms, self.extractor)[:, :most].float()
        frames = frames * valid_mask(count_frames(lengths), frames.shape[1])[:, :, None]
        frames = F.pad(frames, (0, 0, 0, most - frames.shape[1]))
        if self.extractor.do_normalize:
            frames = (frames - self.extractor.mean) / (self.extractor.std * 2)
        return {"input_values": frames}


class SeamlessFrontEnd(FrontEnd):
    """Kaldi log-mel frames, each bin normalized over the clip, in pairs, with a mask."""

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, pairs, 2 * mel_bins), and `attention_mask`, (batch, pairs)."""
        # With fewer than two frames there is no variance to normalize by.
        least = WINDOW_SAMPLES + HOP_SAMPLES
        # Rounded to float32, as in the extractor: if a bin hardly varies, its variation is that rounding.
        frames = _kaldi_frames(_at_least(waveforms, least) * _INT16, self.extractor).float().double()
        counts = count_frames(lengths.clamp(min=least))[:, None, None]
        valid = valid_mask(counts[:, 0, 0], frames.shape[1])[:, :, None]
        mean = (frames * valid).sum(1, keepdim=True) / counts
        variance = ((frames - mean).square() * valid).sum(1, keepdim=True) / (counts - 1)
        frames = ((frames - mean) / (variance + 1e-7).sqrt()).where(valid, self.extractor.padding_value)
        stride = self.extractor.stride
        most = -(-frames_of(max(self.samples, least)) // stride) * stride
        behind = most - frames.shape[1]
        frames = F.pad(frames, (0, 0, 0, behind), value=self.extractor.padding_value)
        mask = F.pad(valid[:, :, 0], (0, behind))[:, 1::stride].int()
        return {"input_features": frames.float().reshape(len(frames), most // stride, -1), "attention_mask": mask}


class WhisperFrontEnd(FrontEnd):
    """Log-mel frames of a window padded with silence, at most 80 dB below the loudest.

    Only the sound is transformed, because the frames of the silence are known.
    """

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, mel_bins, frames)."""
        size, hop, window = self.extractor.n_fft, self.extractor.hop_length, self.extractor.n_samples
        # Beyond one transform length after the last sample, frames have neither sound nor reflected sound.
        kept = min(window, -(-(waveforms.shape[1] + size) // hop) * hop)
        taper = torch.hann_window(size, device=waveforms.device)
        spectrum = torch.stft(_cut_or_fill(waveforms, kept), size, hop, window=taper, return_complex=True)
        mel = _power(spectrum[..., :-1]).transpose(1, 2).double() @ on_device(self.extractor.mel_filters, waveforms)
        frames = mel.clamp(min=1e-10).log10().float().transpose(1, 2)
        frames = F.pad(frames, (0, window // hop - frames.shape[2]), value=-10.0)
        frames = torch.maximum(frames, frames.amax((1, 2), keepdim=True) - 8.0)
        return {"input_features": (frames + 4.0) / 4.0}


def mel_powers(windows: Tensor, taper: Tensor, fft_size: int, filters: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return the power in each mel bin, float64 (batch, frames, mel_bins).

    Args:
        windows: Float64 (batch, frames, window_samples); can be a view, of which only pieces are copied.
        taper: Window function, float64 (window_samples,).
        fft_size: Samples of the transform; windows are padded with zeros.
        filters: Float64 (fft_size // 2 + 1, mel_bins).
        offsets: Subtracted from each window first, float64 (batch, frames, 1); None: nothing.
    """
    powers = windows.new_empty((*windows.shape[:2], filters.shape[1]))
    frames = _WINDOWS_AT_A_TIME[windows.device.type]
    rows = max(1, frames // windows.shape[1])
    for row, frame in product(range(0, windows.shape[0], rows), range(0, windows.shape[1], frames)):
        piece = (slice(row, row + rows), slice(frame, frame + frames))
        centred = windows[piece] if offsets is None else windows[piece] - offsets[piece]
        powers[piece] = _power(torch.fft.rfft(centred * taper, n=fft_size)) @ filters
    return powers


def _kaldi_frames(waveforms: Tensor, extractor: Any) -> Tensor:
    """Return log-mel frames, float64 (batch, frames, mel_bins), of rows of any length."""
    waveforms = _at_least(waveforms, WINDOW_SAMPLES).double()
    # Kaldi subtracts the mean of each window before pre-emphasis. Here the pre-emphasized mean is subtracted instead. A
    # window's first sample has no predecessor, which does not matter: both tapers, Hann's and Povey's, are 0 there.
    means = F.avg_pool1d(waveforms[:, None], WINDOW_SAMPLES, HOP_SAMPLES)[:, 0, :, None]
    emphasised = F.pad(waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1], (1, 0))
    powers = mel_powers(
        emphasised.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES),
        on_device(extractor.window, waveforms),
        KALDI_FFT,
        on_device(extractor.mel_filters, waveforms),
        (1 - PREEMPHASIS) * means,
    )
    return powers.clamp_(min=KALDI_FLOOR).log_()


def _power(spectrum: Tensor) -> Tensor:
    # Four times as fast on a CPU as the sum over a last axis of two.
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)


def on_device(values: NDArray[Any], waveforms: Tensor) -> Tensor:
    """Return an extractor's constants in float64 on the device of the waveforms."""
    return torch.from_numpy(values).to(waveforms.device, torch.float64)


def count_frames(lengths: Tensor) -> Tensor:
    """Return the number of frames of each clip: `frames_of` for a batch."""
    return (1 + (lengths - WINDOW_SAMPLES) // HOP_SAMPLES).clamp(min=1)


def valid_mask(counts: Tensor, frames: int) -> Tensor:
    """Return a boolean mask, (batch, frames)."""
    return torch.arange(frames, device=counts.device) < counts[:, None]


def _at_least(waveforms: Tensor, samples: int) -> Tensor:
    return F.pad(waveforms, (0, max(0, samples - waveforms.shape[1])))


def _cut_or_fill(waveforms: Tensor, samples: int) -> Tensor:
    return F.pad(waveforms, (0, samples - waveforms.shape[1]))
