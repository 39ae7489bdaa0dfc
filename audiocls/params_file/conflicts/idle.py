"""Params that have no effect: they are reported, not ignored.

Default values are never reported, because files written by `dump_params` contain every key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from audiocls.params import (
    BEYOND_THE_RECIPE,
    FOR_THE_ENCODER,
    RAW_WAVEFORM_FAMILIES,
    EmbeddingBalance,
    Params,
    RunParams,
)
from audiocls.params_file.conflicts.conflict import Conflict


def changed_fields(section: Params) -> list[str]:
    """List the fields of a section whose value is not the default."""
    fields = type(section).model_fields
    return [name for name in fields if getattr(section, name) != fields[name].get_default(call_default_factory=True)]


def _embedding_heads_need_no_training_params(params: RunParams) -> Iterator[Conflict]:
    """Reject settings of a training that does not happen; a comparison may use them for other candidates.

    Epochs, learning rates and other basic settings pass, so that one file can be used with several methods.
    """
    if not isinstance(params.balance, EmbeddingBalance) or params.comparison.end_to_end:
        return
    idle = [f"training.{name}" for name in changed_fields(params.training) if name in BEYOND_THE_RECIPE]
    idle += [f"model.{name}" for name in changed_fields(params.model) if name in ("freeze_layers", "lora")]
    idle += ["model.freeze"] if params.model.freeze == "feature_encoder" else []
    for key in idle:
        section, name = key.split(".")
        value = getattr(getattr(params, section), name)
        yield (
            key,
            f"= {'...' if isinstance(value, Params) else repr(value)}: has no effect with "
            f"balance.method={params.balance.method}, which freezes the encoder and fits the head with its own solver; "
            "leave it out",
        )


def _frozen_encoders_train_no_layers(params: RunParams) -> Iterator[Conflict]:
    if params.model.freeze != "encoder" or isinstance(params.balance, EmbeddingBalance):
        return
    for name in changed_fields(params.training):
        if name in FOR_THE_ENCODER:
            value = getattr(params.training, name)
            yield (
                f"training.{name}",
                f"= {value}: has no effect with model.freeze=encoder, which trains no encoder layer; leave it out",
            )


def _patience_is_below_epochs(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    patience, epochs = training.early_stopping_patience, math.ceil(training.epochs)
    if patience is None or training.max_steps is not None or isinstance(params.balance, EmbeddingBalance):
        return
    if patience >= epochs:
        yield (
            "training.early_stopping_patience",
            f"= {patience}: has no effect, as training ends after training.epochs = {training.epochs:g}; lower it, "
            "raise training.epochs, or leave it out",
        )


def _waveform_models_cache_no_features(params: RunParams) -> Iterator[Conflict]:
    family = params.model.family
    if params.audio.cache_features == "always" and family in ("logmel-resnet", *RAW_WAVEFORM_FAMILIES):
        yield (
            "audio.cache_features",
            f"= 'always': model.family={family} takes waveforms, which the waveform store already holds; leave it out",
        )


def _fused_clips_have_no_windows(params: RunParams) -> Iterator[Conflict]:
    if params.audio.truncate == "fusion" and "window_overlap" in changed_fields(params.audio):
        yield (
            "audio.window_overlap",
            f"= {params.audio.window_overlap:g}: audio.truncate=fusion scores a long clip at once, without windows; "
            "leave it out",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _embedding_heads_need_no_training_params,
    _frozen_encoders_train_no_layers,
    _patience_is_below_epochs,
    _waveform_models_cache_no_features,
    _fused_clips_have_no_windows,
)
