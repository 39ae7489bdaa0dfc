"""The families that take raw waveforms: `logmel-resnet`, and wav2vec2 with its descendants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from audiocls.models.adapters.base import Adapter
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params import AudioParams


class LogmelResnet(Adapter):
    """Our own model: any length, and a mask that every layer applies."""

    extractor_class = WaveformFeatureExtractor
    # Recomputed activations would update the statistics of batch norms twice.
    can_checkpoint = False

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the sample rate."""
        return {"sampling_rate": audio.sample_rate_hz}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> WaveformFeatureExtractor:
        """Build the extractor that pads and masks."""
        return WaveformFeatureExtractor(sampling_rate=audio.sample_rate_hz)

    def settle_extractor(self, extractor: Any) -> None:
        """Make it return the mask, and pad with silence."""
        super().settle_extractor(extractor)
        extractor.return_attention_mask, extractor.padding_value = True, 0.0

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Return the number of frames, which are centered on every hop from the first sample on."""
        return -(-samples // int(config.hop_samples))

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return two: with one frame of one clip, the first batch norm cannot compute a deviation."""
        return 2

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Return True: every layer is masked."""
        return True


class Wav2Vec2(Adapter):
    """wav2vec2, HuBERT, UniSpeech and UniSpeech-SAT: strided convolutions, then a transformer."""

    extractor_class = Wav2Vec2FeatureExtractor
    lora_targets = ("q_proj", "v_proj")
    # Fields of the heads of speech recognition and pretraining.
    ignored_fields: ClassVar[tuple[str, ...]] = ("feat_quantizer_dropout", "final_dropout")

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> Wav2Vec2FeatureExtractor:
        """Build the extractor, with masks if the front end uses layer norm.

        With group norm the statistics include the padding, which a mask does not prevent. wav2vec2-base was trained
        without a mask, and only inputs of one length keep its logits the same.
        """
        return Wav2Vec2FeatureExtractor(
            sampling_rate=audio.sample_rate_hz, do_normalize=True, return_attention_mask=_normalises_by_layer(config)
        )

    def settle_extractor(self, extractor: Any) -> None:
        """Make it pad with silence; use a mask if the checkpoint was trained with one."""
        masked = extractor.return_attention_mask
        super().settle_extractor(extractor)
        extractor.return_attention_mask, extractor.padding_value = masked, 0.0

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the feature size: one value per sample."""
        yield "feature_size", extractor.feature_size, "front end", 1

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Return the number of frames after the convolutions."""
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Return True for layer norm: the mask removes padding before anything mixes it with the clip."""
        return _normalises_by_layer(config)

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return the samples of one frame, or of one more frame than the length of SpecAugment's spans."""
        super().least_length(config)
        span = config.mask_time_length if getattr(config, "mask_time_prob", 0) else 0
        samples = 1
        while self.num_frames(config, samples) <= span:
            samples += 1
        return samples


class WavLM(Wav2Vec2):
    """WavLM: attention by torch's function, which reads the projections' weights directly and so bypasses LoRA."""

    lora_targets = ("intermediate_dense", "output_dense")


class LeakyWav2Vec2(Wav2Vec2):
    """Families whose encoder has convolutions or pooling over the padding, so that a mask does not help.

    data2vec-audio stacks positional convolutions, SEW and SEW-D pool neighboring frames, and the Conformer has a
    convolution in every layer: each mixes padding into the last frames of a clip.
    """

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Return False, regardless of the front end's norm."""
        return False


class SEW(LeakyWav2Vec2):
    """SEW, whose transformer runs on squeezed frames."""

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return the number of frames that are squeezed into one."""
        return int(config.squeeze_factor)


class SEWD(SEW):
    """SEW-D, with DeBERTa's attention, whose projections have other names."""

    lora_targets = ("query_proj", "value_proj")
    ignored_fields = (*SEW.ignored_fields, "hidden_dropout")  # its layers use `activation_dropout`


class Conformer(LeakyWav2Vec2):
    """wav2vec2 with convolutions in the layers."""

    lora_targets = ("linear_q", "linear_v")

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return two: with one frame of one clip, a batch norm cannot compute a deviation."""
        return 2


def _normalises_by_layer(config: PreTrainedConfig) -> bool:
    return getattr(config, "feat_extract_norm", "layer") == "layer"
