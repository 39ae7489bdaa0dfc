"""Balancing that does not go with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from audiocls.params import (
    Decoupled,
    EmbeddingBalance,
    Focal,
    Ldam,
    Oversample,
    Progressive,
    Resampled,
    RunParams,
    Undersample,
    WeightedLoss,
)
from audiocls.params_file.conflicts.conflict import Conflict


def _beta_belongs_to_effective_number(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if not isinstance(balance, WeightedLoss | Focal) or balance.beta is None:
        return
    if balance.weighting != "effective_number":
        yield "balance.beta", f"= {balance.beta}: only balance.weighting=effective_number has a beta"


def _clips_of_a_class_are_said_once(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if not isinstance(balance, Oversample | Undersample | EmbeddingBalance | Decoupled):
        return
    if balance.counts is not None and balance.ratio is not None:
        yield "balance.ratio", f"= {balance.ratio:g}: balance.counts says it already; leave out one of the two"


def _smoothing_has_a_meaning(params: RunParams) -> Iterator[Conflict]:
    smoothing = params.training.label_smoothing
    if smoothing > 0 and isinstance(params.balance, Focal | Ldam):
        yield (
            "training.label_smoothing",
            f"= {smoothing:g}: balance.method={params.balance.method} looks at the probability of the true class, and "
            "a smoothed target has none; leave out one of the two",
        )


def _blends_have_a_trained_encoder(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if isinstance(balance, EmbeddingBalance) and params.model.pretrained is None:
        yield (
            "balance.method",
            f"= {balance.method!r}: blends what a trained encoder makes of the clips, and model.pretrained is null. "
            f"Name one there, or take {{method: decoupled, resampling: {balance.method}}}, which trains the encoder "
            "first",
        )


def _balance_goes_with_how_clips_come(params: RunParams) -> Iterator[Conflict]:
    balance, method = params.balance, params.balance.method
    mixing = [(i, step.kind) for i, step in enumerate(params.augmentation) if step.kind in ("mixup", "cutmix")]
    if isinstance(balance, Focal | Ldam):
        for i, kind in mixing:
            yield f"augmentation.{i}.kind", f"= {kind!r}: balance.method={method} takes one class a clip, not a mixture"
    if isinstance(balance, EmbeddingBalance) and params.augmentation:
        yield "augmentation", f"= ...: balance.method={method} trains on the embeddings of the clips as they are"
    if isinstance(balance, Resampled) and params.training.group_by_length:
        yield (
            "training.group_by_length",
            f"= True: balance.method={method} draws the clips of each epoch; one of the two",
        )


def _family_has_the_layer(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if isinstance(balance, EmbeddingBalance | Decoupled) and balance.layer != "last":
        # Imported late: it loads torch, which takes seconds.
        from audiocls.models import layer_mistake

        mistake = layer_mistake(params.model.family, balance.layer)
        if mistake is not None:
            yield "balance.layer", f"= {balance.layer}: {mistake}"


def _progress_takes_epochs(params: RunParams) -> Iterator[Conflict]:
    if isinstance(params.balance, Progressive) and params.training.epochs <= 1 and params.training.max_steps is None:
        yield (
            "balance.method",
            f"= 'progressive': goes from the classes as they are to all alike over the epochs, and training.epochs is "
            f"{params.training.epochs:g}; train for 2 at least, or take square_root or oversample",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _beta_belongs_to_effective_number,
    _clips_of_a_class_are_said_once,
    _smoothing_has_a_meaning,
    _blends_have_a_trained_encoder,
    _balance_goes_with_how_clips_come,
    _family_has_the_layer,
    _progress_takes_epochs,
)
