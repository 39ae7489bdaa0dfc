"""Converts waveforms to a model's inputs of one length, as its feature extractor does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.utils import is_speech_available

from audiocls.models.adapters.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES, frames_of
from audiocls.models.fused_mels import ClapFrontEnd
from audiocls.models.normalised_waveforms import WaveformFrontEnd
from audiocls.models.spectrograms import ASTFrontEnd, FrontEnd, SeamlessFrontEnd, WhisperFrontEnd
from audiocls.models.waveform_extractor import WaveformFeatureExtractor


def model_inputs(waveforms: list[NDArray[np.float32]], extractor: Any, samples: int) -> dict[str, torch.Tensor]:
    """Turn waveforms into a batch of the model's inputs, zero-padded to one length.

    That length is the longest clip of the batch for `logmel-resnet`, which applies its mask at any length; the model's
    window if it has one; and otherwise `samples`, so that a clip's logits do not depend on the rest of its batch.

    Args:
        waveforms: Each (length,), not longer than `samples`, unless the extractor fuses long clips.
        extractor: The family's extractor.
        samples: Length of the longest input.
    """
    front_end = build_front_end(extractor, samples)
    masks = isinstance(extractor, WaveformFeatureExtractor) and extractor.return_attention_mask
    if front_end is None and not masks:
        return extractor_inputs(waveforms, extractor, samples)
    lengths = np.array([len(waveform) for waveform in waveforms])
    rows = np.full((len(waveforms), lengths.max()), extractor.padding_value if masks else 0.0, np.float32)
    for row, waveform in zip(rows, waveforms, strict=True):
        row[: len(waveform)] = waveform
    if front_end is None:
        return masked_waveforms(rows, lengths)
    return front_end(torch.from_numpy(rows), torch.from_numpy(lengths))


def masked_waveforms(rows: NDArray[np.float32], lengths: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    """Return what `WaveformFeatureExtractor` does of padded waveforms, without copying them.

    Args:
        rows: Shape (batch, samples of the longest).
        lengths: In samples, (batch,).
    """
    if lengths.min() == rows.shape[1]:
        # An expanded single element: writing a mask of ones takes as long as reading the waveforms.
        mask = torch.ones(1, dtype=torch.int32).expand(rows.shape)
    else:
        mask = torch.from_numpy((np.arange(rows.shape[1]) < lengths[:, None]).astype(np.int32))
    return {"input_values": torch.from_numpy(rows), "attention_mask": mask}


def build_front_end(extractor: Any, samples: int) -> FrontEnd | None:
    """Build the front end that computes inputs in batches on any device; None if only the extractor can compute them.

    Args:
        extractor: The family's extractor.
        samples: Length of the longest input.
    """
    match extractor:
        # With torchaudio, transformers uses that instead: at rates other than 16 kHz the windows differ.
        case ASTFeatureExtractor() if not is_speech_available():
            return ASTFrontEnd(extractor, samples)
        case SeamlessM4TFeatureExtractor():
            return SeamlessFrontEnd(extractor, samples)
        case WhisperFeatureExtractor() if extractor.dither == 0:
            return WhisperFrontEnd(extractor, samples)
        case ClapFeatureExtractor():
            return ClapFrontEnd(extractor, samples)
        case Wav2Vec2FeatureExtractor():
            return WaveformFrontEnd(extractor, samples)
    return None


def extractor_inputs(waveforms: list[NDArray[np.float32]], extractor: Any, samples: int) -> dict[str, torch.Tensor]:
    """Compute `model_inputs` with the extractor's own code, clip by clip."""
    match extractor:
        case WaveformFeatureExtractor():
            length: dict[str, Any] = {"padding": True}
        case ASTFeatureExtractor():
            waveforms, length = [_at_least(clip, WINDOW_SAMPLES) for clip in waveforms], {}
        case WhisperFeatureExtractor() | ClapFeatureExtractor():
            length = {}
        case SeamlessM4TFeatureExtractor():
            # With fewer than two frames there is no variance to normalize by.
            least = WINDOW_SAMPLES + HOP_SAMPLES
            waveforms = [_at_least(clip, least) for clip in waveforms]
            frames = frames_of(max(samples, least))
            length = {"padding": "max_length", "max_length": frames + frames % 2}
        case _:
            length = {"padding": "max_length", "max_length": samples}
    batch = extractor(waveforms, sampling_rate=extractor.sampling_rate, return_tensors="pt", **length)
    return dict(batch)


def _at_least(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    return waveform if len(waveform) >= samples else np.pad(waveform, (0, samples - len(waveform)))
