"""What every family has to answer before it can be built, fed, frozen and adapted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

from transformers import FeatureExtractionMixin, PreTrainedConfig

from audiocls.errors import ParamsError
from audiocls.params import AudioParams

logger = logging.getLogger(__name__)


class Adapter:
    """One family: its config's fields, its feature extractor, its lengths. Subclasses say what differs."""

    config_type: ClassVar[str | None] = None
    """The model type of the classifier's config, where that is not the family's name."""

    extractor_class: ClassVar[type[FeatureExtractionMixin]]
    """What the classifier's inputs are made by."""

    lora_targets: ClassVar[tuple[str, ...]] = ()
    """The linear layers that LoRA adapts where `model.lora.target_modules` is null; empty: none will do."""

    can_checkpoint: ClassVar[bool] = True
    """Whether activations can be computed anew in the backward pass."""

    ignored_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that the config has and the classifier of transformers 5.23 does not look at: setting one is a mistake."""

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the config's fields that follow from rate and length, unless `model.config` says them."""
        return {}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> Any:
        """Build the feature extractor of a model from scratch."""
        raise NotImplementedError

    def classifier_fields(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a checkpoint's config that the classifier is built from."""
        return stored

    def settle_extractor(self, extractor: Any) -> None:
        """Set in a checkpoint's extractor, in place, what inputs rely on and what is no part of what was learnt."""
        extractor.padding_side = "right"
        extractor.return_attention_mask = False
        if hasattr(extractor, "dither"):
            extractor.dither = 0.0  # noise that is drawn anew for each clip, in evaluation too

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield what has to be the same in both: the extractor's field and value, and the config's."""
        return iter(())

    def tune_extractor(self, extractor: Any, audio: AudioParams) -> None:
        """Write into an extractor, in place, how the clips are cut and filled, where it has settings for that."""

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int | None:
        """Return over how many frames SpecAugment lays its spans; None where the family has none of its own."""
        return None

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int | None:
        """Return how many frames the encoder gets of the longest input; None where any length will do."""
        return self.num_frames(config, samples)

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return how many of `input_frames` the encoder needs."""
        return 1

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int | None:
        """Return how long a clip the model takes, where its input has one fixed length; None: any length."""
        return None

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Say whether the mask keeps padding from changing the logits.

        Where it does not, a clip's logits depend on how far it is padded, and all clips have to be padded to one
        length, in training and after it.
        """
        return False

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return how short a batch may be that is as long as its longest clip, in steps of the attention mask.

        Raises:
            ParamsError: The family pads all clips to one length, as padding changes its logits.
        """
        if not self.ignores_padding(config):
            norm = getattr(config, "feat_extract_norm", None)
            which = f"this {config.model_type}" + (f" (feat_extract_norm: {norm})" if norm else "")
            raise ParamsError(
                f"training.group_by_length: {which} has no mask that keeps padding from changing its logits, so that "
                "all clips are padded to one length, and scored at the length trained on; leave it out"
            )
        return 1

    def check_lengths(self, config: PreTrainedConfig, extractor: Any, audio: AudioParams) -> None:
        """Refuse inputs that the model would cut, and shorten SpecAugment's spans to fit into what it takes.

        Raises:
            ParamsError: `audio.max_seconds` is longer than the model's window, or makes too few frames.
        """
        longest = self.longest_samples(config, extractor)
        if longest is not None and round(audio.max_seconds * audio.sample_rate_hz) > longest:
            raise ParamsError(
                f"audio.max_seconds = {audio.max_seconds:g}: this {config.model_type} takes "
                f"{longest / audio.sample_rate_hz:.4g} s and would cut off the rest; lower audio.max_seconds: longer "
                "clips are then scored by windows"
            )
        frames = self.input_frames(config, round(audio.max_seconds * audio.sample_rate_hz))
        if frames is not None and frames < self.least_frames(config):
            raise ParamsError(
                f"audio.max_seconds = {audio.max_seconds:g} is too short: the {config.model_type} front end makes "
                f"{max(0, frames)} frames of it, and at least {self.least_frames(config)} are needed; raise it"
            )
        self._limit_time_masks(config, audio)

    def _limit_time_masks(self, config: PreTrainedConfig, audio: AudioParams) -> None:
        """Shorten SpecAugment's spans where the clips are no longer than one.

        With spans at or above the sequence length transformers 5.23 ends training with "mask_length has to be smaller
        than sequence_length"; it goes when transformers caps them itself.
        """
        frames = self.num_frames(config, round(audio.sample_rate_hz * audio.max_seconds))
        if frames is None or not getattr(config, "mask_time_prob", 0):
            return
        if config.mask_time_length >= frames:
            shorter = max(1, frames // 2)
            logger.warning(
                "mask_time_length %d does not fit into %d frames; using %d.", config.mask_time_length, frames, shorter
            )
            config.mask_time_length = shorter
