"""The interface of a model family: how it is built, what inputs it takes and what can be adapted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

from transformers import FeatureExtractionMixin, PreTrainedConfig, PreTrainedModel

from audiocls.errors import ParamsError
from audiocls.params import AudioParams

logger = logging.getLogger(__name__)


class Adapter:
    """One family: config fields, feature extractor and input lengths. Subclasses override what differs."""

    config_type: ClassVar[str | None] = None
    """The model type of the classifier's config, if it is not the family's name."""

    extractor_class: ClassVar[type[FeatureExtractionMixin]]
    """The feature extractor of the classifier's inputs."""

    lora_targets: ClassVar[tuple[str, ...]] = ()
    """The linear layers that LoRA adapts if `model.lora.target_modules` is null; empty: the family has none."""

    can_checkpoint: ClassVar[bool] = True
    """Whether activations can be recomputed in the backward pass."""

    ignored_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the config that the classifier of transformers 5.23 ignores: setting one is an error."""

    def fields(self, audio: AudioParams) -> dict[str, Any]:
        """Return the config's fields that follow from sample rate and length, unless `model.config` sets them."""
        return {}

    def new_extractor(self, config: PreTrainedConfig, audio: AudioParams) -> Any:
        """Build the feature extractor of a model without a checkpoint."""
        raise NotImplementedError

    def classifier_fields(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a checkpoint's config that the classifier is built from."""
        return stored

    def settle_extractor(self, extractor: Any) -> None:
        """Override settings of a checkpoint's extractor that our inputs rely on and that were not learned, in place."""
        extractor.padding_side = "right"
        extractor.return_attention_mask = False
        if hasattr(extractor, "dither"):
            extractor.dither = 0.0  # random noise for each clip, in evaluation too

    length_field: ClassVar[str | None] = None
    """The config's field with the number of positions, in families whose encoder has one for each frame."""

    def shorten(self, config: PreTrainedConfig, extractor: Any, audio: AudioParams) -> None:
        """Shorten a checkpoint's input to `audio.max_seconds`, in place, in config and extractor.

        Families that pad every clip to the length of their position embeddings would compute the padding as well.
        """
        if self.length_field is None:
            return
        needed = int(self.fields(audio)[self.length_field])
        if needed < getattr(config, self.length_field):
            setattr(config, self.length_field, needed)
            self.shorten_extractor(extractor, config, audio)

    def shorten_extractor(self, extractor: Any, config: PreTrainedConfig, audio: AudioParams) -> None:
        """Have the extractor make inputs of the config's length, in place."""
        raise NotImplementedError

    def resize_positions(self, model: PreTrainedModel, config: PreTrainedConfig) -> None:
        """Fit a loaded model's position embeddings to the length in `config`, in place."""
        raise NotImplementedError

    def sizes(self, config: PreTrainedConfig, extractor: Any) -> Iterator[tuple[str, int, str, int]]:
        """Yield the sizes that must agree: field and value of the extractor, field and value of the config."""
        return iter(())

    def tune_extractor(self, extractor: Any, audio: AudioParams) -> None:
        """Set in an extractor, in place, how clips are cut and padded, if it has settings for that."""

    def num_frames(self, config: PreTrainedConfig, samples: int) -> int | None:
        """Return the number of frames that SpecAugment masks spans of; None if the family has no SpecAugment."""
        return None

    def input_frames(self, config: PreTrainedConfig, samples: int) -> int | None:
        """Return the number of frames that the encoder gets for the longest input; None if any length is allowed."""
        return self.num_frames(config, samples)

    def least_frames(self, config: PreTrainedConfig) -> int:
        """Return the minimum of `input_frames` that the encoder needs."""
        return 1

    def longest_samples(self, config: PreTrainedConfig, extractor: Any) -> int | None:
        """Return the length of the longest clip that the model takes; None: any length."""
        return None

    def ignores_padding(self, config: PreTrainedConfig) -> bool:
        """Return whether the mask prevents padding from changing the logits.

        If it does not, a clip's logits depend on its padding, and all clips must be padded to one length, in training
        and afterwards.
        """
        return False

    def least_length(self, config: PreTrainedConfig) -> int:
        """Return the minimum length of a batch that is padded to its longest clip, in steps of the attention mask.

        Raises:
            ParamsError: The family pads all clips to one length, because padding changes its logits.
        """
        if not self.ignores_padding(config):
            norm = getattr(config, "feat_extract_norm", None)
            which = f"this {config.model_type}" + (f" (feat_extract_norm: {norm})" if norm else "")
            raise ParamsError(
                f"training.group_by_length: {which} has no mask that prevents padding from changing its logits. So all "
                "clips are padded to one length, in training and in evaluation; leave it out"
            )
        return 1

    def check_lengths(self, config: PreTrainedConfig, extractor: Any, audio: AudioParams) -> None:
        """Check that the model takes inputs of this length, and shorten SpecAugment's spans to fit into them.

        Raises:
            ParamsError: `audio.max_seconds` is longer than the model's window, or gives too few frames.
        """
        longest = self.longest_samples(config, extractor)
        if longest is not None and round(audio.max_seconds * audio.sample_rate_hz) > longest:
            raise ParamsError(
                f"audio.max_seconds = {audio.max_seconds:g}: this {config.model_type} takes "
                f"{longest / audio.sample_rate_hz:.4g} s and would cut off the rest; lower audio.max_seconds; longer "
                "clips are then scored by windows"
            )
        frames = self.input_frames(config, round(audio.max_seconds * audio.sample_rate_hz))
        if frames is not None and frames < self.least_frames(config):
            raise ParamsError(
                f"audio.max_seconds = {audio.max_seconds:g} is too short: the {config.model_type} front end gives "
                f"{max(0, frames)} frames, and at least {self.least_frames(config)} are needed; raise it"
            )
        self._limit_time_masks(config, audio)

    def _limit_time_masks(self, config: PreTrainedConfig, audio: AudioParams) -> None:
        """Shorten SpecAugment's spans if they are not shorter than the clips.

        Otherwise transformers 5.23 stops training with "mask_length has to be smaller than sequence_length". Remove
        once transformers limits them itself.
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
