"""Params that do not fit the number of labels of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from audiocls.params import (
    Decoupled,
    EmbeddingBalance,
    Focal,
    Ldam,
    LogitAdjusted,
    MultiLabelLoss,
    NoBalance,
    Oversample,
    PostHocLogitAdjustment,
    Progressive,
    RunParams,
    SquareRoot,
    Undersample,
    WeightedLoss,
)
from audiocls.params_file.conflicts.conflict import Conflict

_OF_LABEL_SETS: Final = (NoBalance, Oversample, SquareRoot, Progressive, WeightedLoss, Focal, *MultiLabelLoss.__args__)
_MULTI_METRICS: Final = (
    "loss",
    "f1_macro",
    "map_macro",
    "map_micro",
    "lwlrap",
    "auroc_macro",
    "f1_micro",
    "exact_match",
)
_ONLY_MULTI_METRICS: Final = tuple(name for name in _MULTI_METRICS if name not in ("loss", "f1_macro"))


def _balance_fits_the_labels(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    method = f"= {balance.method!r}"
    if not params.is_multi_label:
        if isinstance(balance, MultiLabelLoss):
            yield "balance.method", f"{method}: scores each label on its own, which needs data.labels=multi"
        return
    if isinstance(balance, _OF_LABEL_SETS):
        return
    match balance:
        case Undersample():
            why = "a clip of a frequent label may have a rare one too, which would be dropped with it; use oversample"
        case LogitAdjusted() | Ldam() | PostHocLogitAdjustment():
            why = (
                "moves the border between classes of which a clip has exactly one; use weighted_loss, asymmetric or "
                "distribution_balanced"
            )
        case EmbeddingBalance() | Decoupled():
            why = (
                "a point between two clips has neither's set of labels, and a head of its own is fitted for one label "
                "per clip; use oversample or distribution_balanced"
            )
        case _:
            why = "with data.labels=multi, the threshold of each label is always fitted on validation; leave it out"
    yield "balance.method", f"{method}: {why}"


def _metric_fits_the_labels(params: RunParams) -> Iterator[Conflict]:
    name = params.training.best_metric
    if name is None:
        return
    if params.is_multi_label and name not in _MULTI_METRICS:
        yield "training.best_metric", f"= {name!r}: with data.labels=multi, use one of {', '.join(_MULTI_METRICS)}"
    if not params.is_multi_label and name in _ONLY_MULTI_METRICS:
        yield "training.best_metric", f"= {name!r}: needs data.labels=multi; use f1_macro, for example"


def _pooling_fits_the_labels(params: RunParams) -> Iterator[Conflict]:
    if params.is_multi_label and params.evaluation.pooling == "attention":
        yield (
            "evaluation.pooling",
            "= 'attention': weights windows by how sure they are of one label; with data.labels=multi, use mean, max "
            "or vote",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _balance_fits_the_labels,
    _metric_fits_the_labels,
    _pooling_fits_the_labels,
)
