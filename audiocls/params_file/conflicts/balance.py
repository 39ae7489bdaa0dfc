"""Balance methods that conflict with other params."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from audiocls.params import (
    Asymmetric,
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
        yield "balance.beta", f"= {balance.beta}: only balance.weighting=effective_number has a beta; leave it out"


def _class_counts_are_given_once(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if not isinstance(balance, Oversample | Undersample | EmbeddingBalance | Decoupled):
        return
    if balance.counts is not None and balance.ratio is not None:
        yield "balance.ratio", f"= {balance.ratio:g}: balance.counts already sets the counts; leave out one of the two"


def _loss_allows_label_smoothing(params: RunParams) -> Iterator[Conflict]:
    smoothing = params.training.label_smoothing
    if smoothing > 0 and isinstance(params.balance, Focal | Ldam | Asymmetric):
        yield (
            "training.label_smoothing",
            f"= {smoothing:g}: balance.method={params.balance.method} uses the probability of the true class, which a "
            "smoothed target does not have; leave out one of the two",
        )


def _smote_has_a_trained_encoder(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if isinstance(balance, EmbeddingBalance) and params.model.pretrained is None:
        yield (
            "balance.method",
            f"= {balance.method!r}: needs embeddings of a pretrained encoder, and model.pretrained is null. Set it, or "
            f"use {{method: decoupled, resampling: {balance.method}}}, which trains the encoder first",
        )


def _balance_fits_augmentation_and_batches(params: RunParams) -> Iterator[Conflict]:
    balance, method = params.balance, params.balance.method
    mixing = [(i, step.kind) for i, step in enumerate(params.augmentation) if step.kind in ("mixup", "cutmix")]
    if isinstance(balance, Focal | Ldam) and not params.is_multi_label:
        for i, kind in mixing:
            yield (
                f"augmentation.{i}.kind",
                f"= {kind!r}: balance.method={method} needs one class per clip, not a mixture",
            )
    if isinstance(balance, EmbeddingBalance) and params.augmentation:
        yield "augmentation", f"= ...: balance.method={method} trains on the embeddings of the clips as they are"
    if isinstance(balance, Resampled) and params.training.group_by_length:
        yield (
            "training.group_by_length",
            f"= True: balance.method={method} draws the clips of each epoch itself; leave out one of the two",
        )


def _family_has_the_layer(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if isinstance(balance, EmbeddingBalance | Decoupled) and balance.layer != "last":
        # Imported late: it loads torch, which takes seconds.
        from audiocls.models import layer_mistake

        mistake = layer_mistake(params.model.family, balance.layer)
        if mistake is not None:
            yield "balance.layer", f"= {balance.layer}: {mistake}"


def _progressive_has_epochs(params: RunParams) -> Iterator[Conflict]:
    if isinstance(params.balance, Progressive) and params.training.epochs <= 1 and params.training.max_steps is None:
        yield (
            "balance.method",
            f"= 'progressive': changes the class balance over the epochs, and training.epochs is "
            f"{params.training.epochs:g}; train for at least 2, or use square_root or oversample",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _beta_belongs_to_effective_number,
    _class_counts_are_given_once,
    _loss_allows_label_smoothing,
    _smote_has_a_trained_encoder,
    _balance_fits_augmentation_and_batches,
    _family_has_the_layer,
    _progressive_has_epochs,
)
