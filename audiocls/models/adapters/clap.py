"""CLAP's audio tower: one window of whole seconds, padded and fused as in its extractor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, Literal

from transformers import ClapFeatureExtractor, PreTrainedConfig

from audiocls.errors import ParamsError
from audiocls.models.adapters.base import Adapter
from audiocls.params import AudioParams

_PADDINGS: Final[dict[Literal["zero", "repeat", "repeat_pad"], str]] = {
    "zero": "pad",
    "repeat": "repeat",
    "repeat_pad": "repeatpad",
}
_HOPS_PER_SECOND: Final = 100
_FFT_SIZE: Final = 1024
# As in the published checkpoints (laion/clap-htsat-fused); frequencies outside this band are ignored.
_LOWEST_HZ, _HIGHEST_HZ = 50, 14_000


class Clap(Adapter):
    """CLAP: frames are folded into a square image, stretched if there are too few; no mask and no SpecAugment."""

    config_type = "clap_audio_model"
    extractor_class = ClapFeatureExtractor
    lora_targets = ("query", "value")
    # Fields of pretraining tasks and of the projection, not of the tower.
    ignored_fields = ("num_classes", "projection_dim", "projection_hidden_act")

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return whether long clips are fused."""
        return {"enable_fusion": audio.truncate == "fusion"}

    def classifier_fields(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of the audio tower, also from the config of a whole CLAP."""
        if stored.get("model_type") != "clap":
            return stored
        return {"model_type": self.config_type, **stored.get("audio_config", {})}

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the mel bins."""
        yield "feature_size", extractor.feature_size, "num_mel_bins", config.num_mel_bins

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> ClapFeatureExtractor:
        """Build an extractor of whole seconds with 100 frames per second, or as many as the model's image holds."""
        seconds, rate_hz = math.ceil(audio.max_seconds), audio.sample_rate_hz
        hop = max(rate_hz // _HOPS_PER_SECOND, -(-seconds * rate_hz // (_most_frames(config) - 1)))
        return ClapFeatureExtractor(
            feature_size=config.num_mel_bins,
            sampling_rate=rate_hz,
            hop_length=hop,
            max_length_s=seconds,
            # Wide enough that successive windows overlap.
            fft_window_size=max(_FFT_SIZE, 2 ** math.ceil(math.log2(2 * hop))),
            frequency_min=_LOWEST_HZ,
            frequency_max=min(_HIGHEST_HZ, rate_hz // 2),
        )

    def tune_extractor(self, extractor: Any, audio: AudioParams) -> None:
        """Make the extractor, which is saved with the model, pad and cut clips as in training."""
        extractor.truncation = "fusion" if audio.truncate == "fusion" else "rand_trunc"
        extractor.padding = _PADDINGS[audio.pad]

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int:
        """Return the length of the window."""
        return int(extractor.nb_max_samples)

    def check_lengths(self, config: PreTrainedConfig, extractor: Any, audio: AudioParams) -> None:
        """Check that the model takes inputs of this length, and that it fuses clips as `audio.truncate` requires.

        Raises:
            ParamsError: `audio.max_seconds` is longer than the window, the window has too many frames for the image, or
                only one of the model and `audio.truncate` uses fusion.
        """
        super().check_lengths(config, extractor, audio)
        if config.enable_fusion != (audio.truncate == "fusion"):
            needs = "audio.truncate=fusion" if config.enable_fusion else "audio.truncate=random, head or center"
            raise ParamsError(
                f"audio.truncate = {audio.truncate}: this clap has enable_fusion = {config.enable_fusion}; "
                f"set {needs}, or use another checkpoint"
            )
        frames = extractor.nb_max_samples // extractor.hop_length + 1
        if frames > _most_frames(config):
            raise ParamsError(
                f"model.config: the extractor returns {frames} frames of {config.num_mel_bins} mel bins, and an image "
                f"of spec_size = {config.spec_size} holds {_most_frames(config)}; raise spec_size"
            )


def _most_frames(config: PreTrainedConfig) -> int:
    """Return how many frames can be folded into the square image."""
    return int(config.spec_size * (config.spec_size // config.num_mel_bins))
