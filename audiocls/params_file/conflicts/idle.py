"""Params that would change nothing: what is written down and has no effect is told, and not passed over.

A value that is the default is no wish: files that `dump_params` writes name every key.
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
    """List the fields of a section that have another value than their default."""
    fields = type(section).model_fields
    return [name for name in fields if getattr(section, name) != fields[name].get_default(call_default_factory=True)]


def _heads_on_embeddings_take_no_training(params: RunParams) -> Iterator[Conflict]:
    """Refuse the levers of a training that is not made; a comparison may train others by them.

    Epochs, rates and the rest of a recipe pass: the same file is used with one method and another.
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
            f"= {'...' if isinstance(value, Params) else repr(value)}: does nothing with "
            f"balance.method={params.balance.method}, which keeps the whole encoder and fits the head by a solver of "
            "its own; leave it out",
        )


def _frozen_encoders_have_no_layers_to_train(params: RunParams) -> Iterator[Conflict]:
    if params.model.freeze != "encoder" or isinstance(params.balance, EmbeddingBalance):
        return
    for name in changed_fields(params.training):
        if name in FOR_THE_ENCODER:
            value = getattr(params.training, name)
            yield (
                f"training.{name}",
                f"= {value}: does nothing with model.freeze=encoder, under which no layer is trained; leave it out",
            )


def _patience_ends_before_the_training(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    patience, epochs = training.early_stopping_patience, math.ceil(training.epochs)
    if patience is None or training.max_steps is not None or isinstance(params.balance, EmbeddingBalance):
        return
    if patience >= epochs:
        yield (
            "training.early_stopping_patience",
            f"= {patience}: training.epochs = {training.epochs:g} are over before as many pass without a better score; "
            "lower it, raise the epochs, or leave it out",
        )


def _waveforms_make_no_features_to_keep(params: RunParams) -> Iterator[Conflict]:
    family = params.model.family
    if params.audio.cache_features == "always" and family in ("logmel-resnet", *RAW_WAVEFORM_FAMILIES):
        yield (
            "audio.cache_features",
            f"= 'always': model.family={family} takes waveforms, which the waveform store keeps already; leave it out",
        )


def _fused_clips_have_no_windows(params: RunParams) -> Iterator[Conflict]:
    if params.audio.truncate == "fusion" and "window_overlap" in changed_fields(params.audio):
        yield (
            "audio.window_overlap",
            f"= {params.audio.window_overlap:g}: audio.truncate=fusion scores a long clip at once, without windows; "
            "leave it out",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _heads_on_embeddings_take_no_training,
    _frozen_encoders_have_no_layers_to_train,
    _patience_ends_before_the_training,
    _waveforms_make_no_features_to_keep,
    _fused_clips_have_no_windows,
)
