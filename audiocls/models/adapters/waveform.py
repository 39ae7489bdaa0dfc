"""The families that take raw waveforms: `logmel-resnet`, and wav2vec2 with all that descends from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from audiocls.models.adapters.base import Adapter
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params import AudioParams


class LogmelResnet(Adapter):
    """Our own: any length, and a mask that its every layer keeps to."""

    extractor_class = WaveformFeatureExtractor
    # Run twice, a batch norm would learn its statistics twice.
    can_checkpoint = False

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the rate."""
        return {"sampling_rate": audio.sample_rate_hz}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> WaveformFeatureExtractor:
        """Build the extractor that pads and masks."""
        return WaveformFeatureExtractor(sampling_rate=audio.sample_rate_hz)

    def settle_extractor(self, extractor: Any) -> None:
        """Have it return the mask, and pad with silence."""
        super().settle_extractor(extractor)
        extractor.return_attention_mask, extractor.padding_value = True, 0.0

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Count the frames, which are centred on every hop from the first sample on."""
        return -(-samples // int(config.hop_samples))

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return two: of one frame of one clip, the first batch norm can take no deviation."""
        return 2

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Every layer is masked."""
        return True


class Wav2Vec2(Adapter):
    """wav2vec2, HuBERT, UniSpeech and UniSpeech-SAT: strided convolutions, then a transformer."""

    extractor_class = Wav2Vec2FeatureExtractor
    lora_targets = ("q_proj", "v_proj")
    # Of the heads of speech recognition and of pre-training.
    ignored_fields: ClassVar[tuple[str, ...]] = ("feat_quantizer_dropout", "final_dropout")

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> Wav2Vec2FeatureExtractor:
        """Build the extractor, with masks where the front end normalises by layer.

        One that normalises by group sees the padding in its statistics, so that a mask would promise too much:
        wav2vec2-base was trained without one, and inputs of one length are what keeps its logits the same.
        """
        return Wav2Vec2FeatureExtractor(
            sampling_rate=audio.sample_rate_hz, do_normalize=True, return_attention_mask=_normalises_by_layer(config)
        )

    def settle_extractor(self, extractor: Any) -> None:
        """Pad with silence; whether there is a mask is as the checkpoint was trained."""
        masked = extractor.return_attention_mask
        super().settle_extractor(extractor)
        extractor.return_attention_mask, extractor.padding_value = masked, 0.0

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the one value of a sample."""
        yield "feature_size", extractor.feature_size, "front end", 1

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int:
        """Count the steps that the convolutions leave."""
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """By layer, padding meets the mask before anything mixes it in."""
        return _normalises_by_layer(config)

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return the samples of one frame, or of one more than SpecAugment's spans have."""
        super().least_length(config)
        span = config.mask_time_length if getattr(config, "mask_time_prob", 0) else 0
        samples = 1
        while self.num_frames(config, samples) <= span:
            samples += 1
        return samples


class WavLM(Wav2Vec2):
    """Attention by torch's own function, which takes the weights of its projections and passes LoRA by."""

    lora_targets = ("intermediate_dense", "output_dense")


class LeakyWav2Vec2(Wav2Vec2):
    """The kin in whose encoder convolutions or pooling run over the padding, so that no mask can mend it.

    data2vec-audio stacks its convolutions of positions, SEW and SEW-D pool neighbouring frames, and the Conformer has a
    convolution in every layer: each mixes into the last frames of a clip what came of the padding behind them.
    """

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Never, whatever the front end's norm."""
        return False


class SEW(LeakyWav2Vec2):
    """SEW, whose transformer runs on squeezed frames."""

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return those that are squeezed into one."""
        return int(config.squeeze_factor)


class SEWD(SEW):
    """DeBERTa's attention, which names its projections otherwise."""

    lora_targets = ("query_proj", "value_proj")
    ignored_fields = (*SEW.ignored_fields, "hidden_dropout")  # `activation_dropout` is what its layers use


class Conformer(LeakyWav2Vec2):
    """wav2vec2 with convolutions in the layers."""

    lora_targets = ("linear_q", "linear_v")

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return two: of one frame of one clip, a batch norm can take no deviation."""
        return 2


def _normalises_by_layer(config: PreTrainedConfig) -> bool:
    return getattr(config, "feat_extract_norm", "layer") == "layer"
