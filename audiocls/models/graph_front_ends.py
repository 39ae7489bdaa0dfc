"""Front ends as part of a model's graph: waveforms to the model's inputs by convolutions, without a Fourier transform.

They are what an exported model begins with, so that a runtime needs neither the feature extractor nor an operator for
spectra. Each computes what `model_inputs` computes, without a branch that depends on the values, and in float32, as few
runtimes have convolutions in float64. Of 16-bit recordings the inputs differ by up to 1e-4 for AST and Whisper, 5e-3 dB
for CLAP and 1e-3 for wav2vec2-BERT, each in bins that are far below the loudest of their window.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.utils import is_speech_available

from audiocls.errors import ParamsError
from audiocls.models.adapters.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES, frames_of
from audiocls.models.log_mel import LogMel
from audiocls.models.spectrograms import KALDI_FFT, KALDI_FLOOR, PREEMPHASIS, count_frames, valid_mask
from audiocls.models.waveform_extractor import WaveformFeatureExtractor

_LOG_10: Final = float(np.log(10))


class MelPowers(nn.Module):
    """The power in each mel bin of windows of waveforms: a convolution by a Fourier basis, squares, and a sum."""

    basis: Tensor
    filters: Tensor

    def __init__(
        self,
        taper: NDArray[np.float64],
        fft_size: int,
        hop: int,
        filters: NDArray[np.float64],
        linear: NDArray[np.float64] | None = None,
    ) -> None:
        """Compute the constants in float64.

        Args:
            taper: What each window is multiplied with, (window_samples,).
            fft_size: Samples of the transform; zeros stand behind the window.
            hop: Samples between windows.
            filters: Weights of the powers, (fft_size // 2 + 1, mel_bins).
            linear: What is done to each window first, a matrix (window_samples, window_samples); None: nothing.
        """
        super().__init__()
        self.hop = hop
        heard = np.flatnonzero(filters.any(axis=1))  # the others need not be computed
        angles = 2 * np.pi * np.outer(heard, np.arange(len(taper))) / fft_size
        basis = np.concatenate([np.cos(angles), np.sin(angles)]) * taper
        basis = basis if linear is None else basis @ linear
        # A convolution of one position, not a product of matrices: quantisation of the latter leaves it as it is.
        both = np.concatenate([filters[heard], filters[heard]]).T
        self.register_buffer("basis", torch.from_numpy(basis[:, None]).float(), persistent=False)
        self.register_buffer("filters", torch.from_numpy(both[:, :, None]).float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Map (batch, samples) to (batch, mel_bins, frames), of the windows that fit into the samples."""
        parts = F.conv1d(waveforms[:, None], self.basis, stride=self.hop)
        return F.conv1d(parts * parts, self.filters)  # `square` would become a power of any exponent


class GraphFrontEnd(nn.Module):
    """Makes a model's inputs of a batch of waveforms of up to `samples` samples."""

    def __init__(self, samples: int, *, uses_lengths: bool) -> None:
        super().__init__()
        self.samples = samples
        self.uses_lengths = uses_lengths

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Compute the inputs of float32 waveforms (batch, samples) and, where they matter, lengths (batch,)."""
        raise NotImplementedError

    def _window(self, waveforms: Tensor, samples: int) -> Tensor:
        """Fill the waveforms to a length that is a constant of the graph."""
        return F.pad(waveforms, (0, samples))[:, :samples]


class MaskedWaveforms(GraphFrontEnd):
    """The waveforms as they are, with a mask: what `logmel-resnet` takes, at any length."""

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_values` and `attention_mask`, both (batch, samples)."""
        return {"input_values": waveforms, "attention_mask": valid_mask(_given(lengths), waveforms.shape[1])}


class NormalisedWaveforms(GraphFrontEnd):
    """As `WaveformFrontEnd`."""

    def __init__(self, extractor: Any, samples: int) -> None:
        super().__init__(samples, uses_lengths=extractor.return_attention_mask)
        self.normalises = extractor.do_normalize
        self.filler = float(extractor.padding_value)

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_values` (batch, samples), and `attention_mask` like it where the extractor has one."""
        values = self._window(waveforms, self.samples)
        if not self.uses_lengths:
            return {"input_values": _standard(values, torch.ones_like(values)) if self.normalises else values}
        valid = valid_mask(_given(lengths), self.samples)
        values = _standard(values, valid.float()) if self.normalises else values
        return {"input_values": values.where(valid, self.filler), "attention_mask": valid.int()}


class KaldiFrames(GraphFrontEnd):
    """As `ASTFrontEnd`."""

    def __init__(self, extractor: Any, samples: int) -> None:
        super().__init__(max(samples, WINDOW_SAMPLES), uses_lengths=True)
        self.powers = _kaldi_powers(extractor)
        self.frames = int(extractor.max_length)
        self.mean = float(extractor.mean) if extractor.do_normalize else 0.0
        self.deviation = 2 * float(extractor.std) if extractor.do_normalize else 1.0

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_values`, (batch, max_length, mel_bins)."""
        frames = _kaldi_logs(self.powers, self._window(waveforms, self.samples))[:, : self.frames]
        frames = frames * valid_mask(count_frames(_given(lengths)), frames.shape[1])[:, :, None]
        frames = F.pad(frames, (0, 0, 0, self.frames - frames.shape[1]))
        return {"input_values": (frames - self.mean) / self.deviation}


class PairedFrames(GraphFrontEnd):
    """As `SeamlessFrontEnd`."""

    def __init__(self, extractor: Any, samples: int) -> None:
        self.least = WINDOW_SAMPLES + HOP_SAMPLES
        super().__init__(max(samples, self.least), uses_lengths=True)
        # The scale of 16-bit samples, which the extractor gives the waveforms, is that of their powers squared.
        self.powers = _kaldi_powers(extractor, scale=2.0**15)
        self.stride, self.filler = int(extractor.stride), float(extractor.padding_value)

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, pairs, 2 * mel_bins), and `attention_mask`, (batch, pairs)."""
        frames = _kaldi_logs(self.powers, self._window(waveforms, self.samples))
        counts = count_frames(_given(lengths).clamp(min=self.least))
        valid = valid_mask(counts, frames.shape[1])[:, :, None]
        mean = (frames * valid).sum(1, keepdim=True) / counts[:, None, None]
        variance = ((frames - mean).square() * valid).sum(1, keepdim=True) / (counts - 1)[:, None, None]
        frames = ((frames - mean) / (variance + 1e-7).sqrt()).where(valid, self.filler)
        behind = -frames_of(self.samples) % self.stride
        frames = F.pad(frames, (0, 0, 0, behind), value=self.filler)
        mask = F.pad(valid[:, :, 0].int(), (0, behind))[:, 1 :: self.stride]
        return {"input_features": frames.reshape(len(frames), mask.shape[1], -1), "attention_mask": mask}


class WhisperFrames(GraphFrontEnd):
    """As `WhisperFrontEnd`."""

    def __init__(self, extractor: Any) -> None:
        super().__init__(int(extractor.n_samples), uses_lengths=False)
        self.edge = extractor.n_fft // 2
        taper = torch.hann_window(extractor.n_fft, dtype=torch.float64).numpy()
        self.powers = MelPowers(taper, extractor.n_fft, extractor.hop_length, extractor.mel_filters)

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, mel_bins, frames)."""
        window = _mirrored(self._window(waveforms, self.samples), self.edge)
        frames = self.powers(window)[:, :, :-1].clamp(min=1e-10).log() / _LOG_10
        frames = torch.maximum(frames, frames.amax((1, 2), keepdim=True) - 8.0)
        return {"input_features": (frames + 4.0) / 4.0}


class ClapFrames(GraphFrontEnd):
    """As `ClapFrontEnd` without fusion."""

    def __init__(self, extractor: Any) -> None:
        super().__init__(int(extractor.nb_max_samples), uses_lengths=extractor.padding != "pad")
        size = int(extractor.fft_window_size)
        self.edge, self.padding = size // 2, extractor.padding
        taper = torch.hann_window(size, dtype=torch.float64).numpy()
        self.powers = MelPowers(taper, size, extractor.hop_length, extractor.mel_filters_slaney)

    def forward(self, waveforms: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """Return `input_features`, (batch, 1, frames, mel_bins), and `is_longer`, (batch, 1)."""
        window = self._window(waveforms, self.samples)
        window = self._repeated(window, _given(lengths)) if self.uses_lengths else window
        frames = 10 / _LOG_10 * self.powers(_mirrored(window, self.edge)).clamp(min=1e-10).log()
        return {
            "input_features": frames.transpose(1, 2)[:, None],
            "is_longer": torch.zeros_like(waveforms[:, :1], dtype=torch.bool),
        }

    def _repeated(self, window: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths[:, None]
        places = torch.arange(self.samples, device=window.device)[None]
        repeated = window.gather(1, places % lengths)
        if self.padding == "repeat":
            return repeated
        return repeated.where(places < self.samples // lengths * lengths, 0.0)


class ConvolvedLogMel(LogMel):
    """`LogMel` whose transform is a convolution."""

    def __init__(self, plain: LogMel) -> None:
        nn.Module.__init__(self)
        self.hop_samples, self.window_samples = plain.hop_samples, plain.window_samples
        taper, filters = plain.window.double().numpy(), plain.filters.double().numpy()
        self.powers = MelPowers(taper, plain.fft_size, plain.hop_samples, filters)
        # The transform centres the window in the samples that it takes, and those on the frame.
        self.before = plain.fft_size // 2 - (plain.fft_size - plain.window_samples) // 2

    def _mel(self, waveforms: Tensor, num_frames: int) -> Tensor:
        powers: Tensor = self.powers(F.pad(waveforms, (self.before, self.window_samples)))
        return powers.transpose(1, 2)[:, :num_frames]


def build_graph_front_end(extractor: Any, samples: int) -> GraphFrontEnd:
    """Build what an exported model begins with.

    Args:
        extractor: The family's.
        samples: Length of the longest input.

    Raises:
        ParamsError: The inputs cannot be computed in a graph; says why.
    """
    match extractor:
        case WaveformFeatureExtractor():
            return MaskedWaveforms(samples, uses_lengths=True)
        case Wav2Vec2FeatureExtractor():
            return NormalisedWaveforms(extractor, samples)
        case ASTFeatureExtractor() if not is_speech_available():
            return KaldiFrames(extractor, samples)
        case SeamlessM4TFeatureExtractor():
            return PairedFrames(extractor, samples)
        case WhisperFeatureExtractor() if extractor.dither == 0:
            return WhisperFrames(extractor)
        case ClapFeatureExtractor() if extractor.truncation != "fusion":
            return ClapFrames(extractor)
        case ClapFeatureExtractor():
            raise ParamsError(
                "audio.truncate = fusion: how many crops a clip gives depends on its length, which a graph cannot "
                "express; train with audio.truncate=random, head or center to export the model"
            )
    raise ParamsError(f"{type(extractor).__name__}: its inputs cannot be computed in a graph; use runtime='torch'")


def _kaldi_powers(extractor: Any, scale: float = 1.0) -> MelPowers:
    size = WINDOW_SAMPLES
    emphasis = np.eye(size) - PREEMPHASIS * np.eye(size, k=-1)
    without_mean = np.eye(size) - 1 / size
    taper = np.asarray(extractor.window, np.float64)
    return MelPowers(taper, KALDI_FFT, HOP_SAMPLES, extractor.mel_filters, scale * emphasis @ without_mean)


def _kaldi_logs(powers: MelPowers, waveforms: Tensor) -> Tensor:
    """Return log-mel frames, (batch, frames, mel_bins)."""
    return powers(waveforms).clamp(min=KALDI_FLOOR).log().transpose(1, 2)


def _standard(values: Tensor, valid: Tensor) -> Tensor:
    """Give each row mean 0 and variance 1 where it is valid, and 0 elsewhere."""
    counts = valid.sum(1, keepdim=True)
    centred = (values - (values * valid).sum(1, keepdim=True) / counts) * valid
    return centred / (centred.square().sum(1, keepdim=True) / counts + 1e-7).sqrt()


def _mirrored(waveforms: Tensor, edge: int) -> Tensor:
    return F.pad(waveforms[:, None], (edge, edge), mode="reflect")[:, 0]


def _given(lengths: Tensor | None) -> Tensor:
    if lengths is None:
        raise TypeError("this model needs the lengths of the waveforms")
    return lengths
