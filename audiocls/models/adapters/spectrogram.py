"""The families whose extractor computes log-mel spectrograms: AST, Whisper and wav2vec2-BERT.

Windows have 400 samples and hops 160 at every sample rate: 25 ms and 10 ms at 16 kHz. With torchaudio installed, AST's
are 25 ms and 10 ms at every rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    ASTFeatureExtractor,
    PreTrainedConfig,
    PreTrainedModel,
    SeamlessM4TFeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.utils import is_speech_available

from audiocls.errors import ParamsError
from audiocls.models.adapters.base import Adapter
from audiocls.params import AudioParams

WINDOW_SAMPLES: Final = 400
HOP_SAMPLES: Final = 160
_WHISPER_STRIDE: Final = 2
_AST_PREFIX: Final = 2  # the class and the distillation token


def frames_of(samples: int) -> int:
    """Return the number of windows that fit into a clip completely, as in Kaldi; at least one."""
    return max(1, 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES)


class AST(Adapter):
    """The audio spectrogram transformer: a fixed number of frames, with shorter clips padded with zeros."""

    extractor_class = ASTFeatureExtractor
    length_field = "max_length"
    lora_targets = ("q_proj", "v_proj")

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the number of frames of the longest input."""
        window, hop = _ast_window(audio.sample_rate_hz)
        return {"max_length": max(1, 1 + (round(audio.max_seconds * audio.sample_rate_hz) - window) // hop)}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> ASTFeatureExtractor:
        """Build the extractor with the sizes of the model."""
        return ASTFeatureExtractor(
            sampling_rate=audio.sample_rate_hz, num_mel_bins=config.num_mel_bins, max_length=config.max_length
        )

    def shorten_extractor(self, extractor: Any, config: PreTrainedConfig, audio: AudioParams) -> None:
        """Have the extractor make as many frames as the config says."""
        extractor.max_length = config.max_length

    def resize_positions(self, model: PreTrainedModel, config: PreTrainedConfig) -> None:
        """Interpolate the position embeddings over time, as AST's authors do between clips of different lengths."""
        embeddings = model.audio_spectrogram_transformer.embeddings
        bands, columns = embeddings.get_shape(config)
        whole = embeddings.position_embeddings
        prefix, grid = whole[:, :_AST_PREFIX], whole[:, _AST_PREFIX:]
        grid = grid.transpose(1, 2).reshape(1, grid.shape[2], bands, -1)
        fitted = F.interpolate(grid, size=(bands, columns), mode="bilinear", align_corners=False)
        fitted = torch.cat([prefix, fitted.flatten(2).transpose(1, 2)], dim=1)
        embeddings.position_embeddings = nn.Parameter(fitted.detach().clone())

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the mel bins and the frames."""
        yield "num_mel_bins", extractor.num_mel_bins, "num_mel_bins", config.num_mel_bins
        yield "max_length", extractor.max_length, "max_length", config.max_length

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Return the number of frames that every clip is padded to."""
        return int(config.max_length)

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return the frames of one patch."""
        return int(config.patch_size)

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int:
        """Return the maximum length whose frames all fit."""
        window, hop = _ast_window(extractor.sampling_rate)
        return window + min(config.max_length, extractor.max_length) * hop - 1


def _ast_window(sample_rate_hz: int) -> tuple[int, int]:
    """Return window and hop in samples."""
    return (sample_rate_hz // 40, sample_rate_hz // 100) if is_speech_available() else (WINDOW_SAMPLES, HOP_SAMPLES)


class Whisper(Adapter):
    """Whisper's encoder: one window of whole seconds, shorter clips padded with silence, no mask."""

    extractor_class = WhisperFeatureExtractor
    length_field = "max_source_positions"
    lora_targets = ("q_proj", "v_proj")
    # The classifier has no decoder, and SpecAugment is only in the model with the decoder.
    ignored_fields = (
        "decoder_attention_heads",
        "decoder_ffn_dim",
        "decoder_layerdrop",
        "decoder_layers",
        "apply_spec_augment",
        "mask_time_prob",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_prob",
        "mask_feature_length",
        "mask_feature_min_masks",
    )

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the positions of a window of whole seconds, the only kind that the extractor supports."""
        per_second = audio.sample_rate_hz / (HOP_SAMPLES * _WHISPER_STRIDE)
        return {"max_source_positions": int(math.ceil(audio.max_seconds) * per_second)}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> WhisperFeatureExtractor:
        """Build the extractor whose window matches the encoder's positions.

        Raises:
            ParamsError: The positions are not a whole number of seconds.
        """
        samples = config.max_source_positions * _WHISPER_STRIDE * HOP_SAMPLES
        seconds, rest = divmod(samples, audio.sample_rate_hz)
        if rest or not seconds:
            raise ParamsError(
                f"model.config.max_source_positions = {config.max_source_positions}: is a window of "
                f"{samples / audio.sample_rate_hz:.4g} s, and Whisper's extractor needs whole seconds and a rate "
                f"divisible by {HOP_SAMPLES * _WHISPER_STRIDE}; leave it out to derive it from audio.max_seconds"
            )
        return WhisperFeatureExtractor(
            feature_size=config.num_mel_bins, sampling_rate=audio.sample_rate_hz, chunk_length=seconds
        )

    def shorten_extractor(self, extractor: Any, config: PreTrainedConfig, audio: AudioParams) -> None:
        """Have the extractor fill clips to the window of the config."""
        extractor.n_samples = config.max_source_positions * _WHISPER_STRIDE * HOP_SAMPLES
        extractor.nb_max_frames = config.max_source_positions * _WHISPER_STRIDE
        extractor.chunk_length = extractor.n_samples // extractor.sampling_rate

    def resize_positions(self, model: PreTrainedModel, config: PreTrainedConfig) -> None:
        """Keep the first position embeddings: they are sinusoids, the same whatever comes after them."""
        encoder, positions = model.encoder, config.max_source_positions
        first = encoder.embed_positions.weight[:positions].detach().clone()
        encoder.embed_positions = nn.Embedding(positions, first.shape[1], _weight=first, _freeze=True)
        encoder.max_source_positions = positions

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the number of mel bins and of frames of the window."""
        yield "feature_size", extractor.feature_size, "num_mel_bins", config.num_mel_bins
        frames = config.max_source_positions * _WHISPER_STRIDE
        yield "nb_max_frames", extractor.nb_max_frames, "max_source_positions", frames

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int:
        """Return the length of the window."""
        return int(min(extractor.n_samples, config.max_source_positions * _WHISPER_STRIDE * HOP_SAMPLES))


class Wav2Vec2Bert(Adapter):
    """wav2vec2-BERT: pairs of filter bank frames, normalized over the clip, with a mask that its layers apply."""

    extractor_class = SeamlessM4TFeatureExtractor
    lora_targets = ("linear_q", "linear_v")
    ignored_fields = ("final_dropout",)  # of the speech recognition head

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> SeamlessM4TFeatureExtractor:
        """Build an extractor that stacks two frames per input.

        Raises:
            ParamsError: The input size is odd.
        """
        size = config.feature_projection_input_dim
        if size % 2:
            raise ParamsError(
                f"model.config.feature_projection_input_dim = {size}: must be even, for two frames of mel bins"
            )
        return SeamlessM4TFeatureExtractor(
            feature_size=size // 2, num_mel_bins=size // 2, sampling_rate=audio.sample_rate_hz, stride=2
        )

    def settle_extractor(self, extractor: Any) -> None:
        """Make it return the mask that the layers apply."""
        super().settle_extractor(extractor)
        extractor.return_attention_mask = True

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the number of mel bins of stacked frames."""
        size = extractor.num_mel_bins * extractor.stride
        yield "num_mel_bins * stride", size, "feature_projection_input_dim", config.feature_projection_input_dim

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Count pairs of frames."""
        return frames_of(samples) // 2

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Return True: padding is added after normalization, and convolutions in all layers are causal and masked."""
        return True

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return one pair of frames, or one more than the length of SpecAugment's spans."""
        return config.mask_time_length + 1 if config.mask_time_prob else 1
