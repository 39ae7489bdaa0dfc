"""The families that take log-mel spectrograms made by their extractor: AST, Whisper and wav2vec2-BERT.

Their windows and hops are counts of samples, 400 and 160, whatever the rate: 25 ms and 10 ms at 16 kHz. Of AST's that
is so without torchaudio; with it, they are 25 ms and 10 ms at every rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from transformers import (
    ASTFeatureExtractor,
    PreTrainedConfig,
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


def frames_of(samples: int) -> int:
    """Return how many windows fit into a clip without going beyond it, as Kaldi counts; at least one."""
    return max(1, 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES)


class AST(Adapter):
    """The audio spectrogram transformer: as many frames as its position embeddings, zeros behind shorter clips."""

    extractor_class = ASTFeatureExtractor
    lora_targets = ("q_proj", "v_proj")

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the frames of the longest input."""
        window, hop = _ast_window(audio.sample_rate_hz)
        return {"max_length": max(1, 1 + (round(audio.max_seconds * audio.sample_rate_hz) - window) // hop)}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> ASTFeatureExtractor:
        """Build the extractor of the model's size."""
        return ASTFeatureExtractor(
            sampling_rate=audio.sample_rate_hz, num_mel_bins=config.num_mel_bins, max_length=config.max_length
        )

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the mel bins and the frames."""
        yield "num_mel_bins", extractor.num_mel_bins, "num_mel_bins", config.num_mel_bins
        yield "max_length", extractor.max_length, "max_length", config.max_length

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Return the frames that every clip is filled to."""
        return int(config.max_length)

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return those of one patch."""
        return int(config.patch_size)

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int:
        """Return the last length that makes no frame too many."""
        window, hop = _ast_window(extractor.sampling_rate)
        return window + min(config.max_length, extractor.max_length) * hop - 1


def _ast_window(sample_rate_hz: int) -> tuple[int, int]:
    """Return window and hop in samples."""
    return (sample_rate_hz // 40, sample_rate_hz // 100) if is_speech_available() else (WINDOW_SAMPLES, HOP_SAMPLES)


class Whisper(Adapter):
    """Whisper's encoder: one window in whole seconds, silence behind shorter clips, and no mask."""

    extractor_class = WhisperFeatureExtractor
    lora_targets = ("q_proj", "v_proj")
    # SpecAugment stands in the model with the decoder, which the classifier is built without.
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
        """Return the positions of a window of whole seconds, as its extractor knows no others."""
        per_second = audio.sample_rate_hz / (HOP_SAMPLES * _WHISPER_STRIDE)
        return {"max_source_positions": int(math.ceil(audio.max_seconds) * per_second)}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> WhisperFeatureExtractor:
        """Build the extractor whose window the encoder has positions for.

        Raises:
            ParamsError: Those positions are no whole seconds.
        """
        samples = config.max_source_positions * _WHISPER_STRIDE * HOP_SAMPLES
        seconds, rest = divmod(samples, audio.sample_rate_hz)
        if rest or not seconds:
            raise ParamsError(
                f"model.config.max_source_positions = {config.max_source_positions}: is a window of "
                f"{samples / audio.sample_rate_hz:.4g} s, and Whisper's extractor takes whole seconds at a rate that "
                f"{HOP_SAMPLES * _WHISPER_STRIDE} divides; leave it out to have it follow from audio.max_seconds"
            )
        return WhisperFeatureExtractor(
            feature_size=config.num_mel_bins, sampling_rate=audio.sample_rate_hz, chunk_length=seconds
        )

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the mel bins and the frames of the window."""
        yield "feature_size", extractor.feature_size, "num_mel_bins", config.num_mel_bins
        frames = config.max_source_positions * _WHISPER_STRIDE
        yield "nb_max_frames", extractor.nb_max_frames, "max_source_positions", frames

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int:
        """Return the window's length."""
        return int(min(extractor.n_samples, config.max_source_positions * _WHISPER_STRIDE * HOP_SAMPLES))


class Wav2Vec2Bert(Adapter):
    """wav2vec2-BERT: pairs of filterbank frames, normalised over the clip alone, with a mask that its layers keep."""

    extractor_class = SeamlessM4TFeatureExtractor
    lora_targets = ("linear_q", "linear_v")
    ignored_fields = ("final_dropout",)  # of the head of speech recognition

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> SeamlessM4TFeatureExtractor:
        """Build the extractor, two frames to an input.

        Raises:
            ParamsError: The input's size is odd.
        """
        size = config.feature_projection_input_dim
        if size % 2:
            raise ParamsError(
                f"model.config.feature_projection_input_dim = {size}: is two frames of as many mel bins; make it even"
            )
        return SeamlessM4TFeatureExtractor(
            feature_size=size // 2, num_mel_bins=size // 2, sampling_rate=audio.sample_rate_hz, stride=2
        )

    def settle_extractor(self, extractor: Any) -> None:
        """Have it return the mask that the layers keep."""
        super().settle_extractor(extractor)
        extractor.return_attention_mask = True

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the mel bins of the frames that are put together."""
        size = extractor.num_mel_bins * extractor.stride
        yield "num_mel_bins * stride", size, "feature_projection_input_dim", config.feature_projection_input_dim

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Count pairs of frames."""
        return frames_of(samples) // 2

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Padding comes behind the normalisation, and every layer's convolution is causal and masked."""
        return True

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return one pair of frames, or one more than SpecAugment's spans have."""
        return config.mask_time_length + 1 if config.mask_time_prob else 1
