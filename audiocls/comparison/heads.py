"""Compare balance methods by heads on the same embeddings, as a run with each method would train them.

Validation chooses a method, and test is reported. Params that are fitted on validation (`tau`, thresholds) are scored
on held-out folds of its groups for the choice, and fitted on all of validation for the report. If they do not help on
those folds, the plain head is kept, as in a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocls.balance import SyntheticSamples, class_weights
from audiocls.errors import BalanceError
from audiocls.heads import ChangedHead, Clips, LinearHead, Logits, Scaling, changed_head, head_on_embeddings, train_head
from audiocls.params import (
    AfterTraining,
    BalanceParams,
    ClassThresholds,
    Decoupled,
    EmbeddingBalance,
    HeadParams,
    NoBalance,
    Oversample,
    PostHocLogitAdjustment,
    TauNorm,
    Undersample,
    WeightedLoss,
)


@dataclass(frozen=True, slots=True)
class Scored:
    """The logits of one method and seed, each (num_clips, num_classes)."""

    validation: Logits
    test: Logits
    synthetic: SyntheticSamples | None = None  # what the head was trained on, if not the training clips


@dataclass(frozen=True, slots=True)
class Embedded:
    """The clips of a corpus, embedded by one encoder."""

    training: Clips
    validation: Clips
    test: Clips
    labels: tuple[str, ...]
    device: str = "cpu"

    @property
    def counts(self) -> NDArray[np.int64]:
        """Training clips per class, shape (num_classes,)."""
        return np.bincount(self.training.targets, minlength=len(self.labels))


def compare_methods(
    clips: Embedded, methods: Mapping[str, BalanceParams], seeds: Sequence[int], plain: LinearHead | None = None
) -> tuple[dict[str, list[Scored]], dict[str, str]]:
    """Score heads by each method and seed.

    Args:
        clips: The embedded splits; every class has training clips.
        methods: Methods by name, which change only the head or weight its loss.
        seeds: Seeds of copies, synthetic samples, and the folds of validation.
        plain: The head that was trained with the encoder. None: the encoder is pretrained, and `none` is a head
            trained on the unchanged embeddings.

    Returns:
        By name, the scores of each seed; and by name, why the class counts do not allow a method.
    """
    if plain is None:
        plain = _plain_head(clips)
    found: dict[str, list[Scored]] = {}
    refused: dict[str, str] = {}
    for name, method in methods.items():
        try:
            found[name] = _scored(clips, method, plain, seeds)
        except BalanceError as error:
            refused[name] = str(error)
    return found, refused


def _scored(clips: Embedded, method: BalanceParams, plain: LinearHead, seeds: Sequence[int]) -> list[Scored]:
    match method:
        case EmbeddingBalance() | Decoupled() | Oversample() | Undersample():
            changed = [_head_of_balanced(clips, method, seed) for seed in seeds]
            return [_score(clips, each.head, each.synthetic) for each in changed]
        case NoBalance():
            heads = [plain] * len(seeds)
        case WeightedLoss():
            heads = [_plain_head(clips, method)] * len(seeds)
        case TauNorm() | PostHocLogitAdjustment() | ClassThresholds():
            return _fitted(clips, method, plain, seeds)
        case _:
            raise ValueError(f"{method.method} trains a whole model, not a head")
    return [_score(clips, head) for head in heads]


def _score(clips: Embedded, head: LinearHead, synthetic: SyntheticSamples | None = None) -> Scored:
    return Scored(clips.validation.logits(head), clips.test.logits(head), synthetic)


def _plain_head(clips: Embedded, weighting: WeightedLoss | None = None) -> LinearHead:
    training, scaling = clips.training, Scaling.of(clips.training.embeddings)
    weights = None
    if weighting is not None:
        by_class = class_weights(dict(zip(clips.labels, clips.counts.tolist(), strict=True)), weighting)
        weights = np.array(list((by_class or {}).values()), np.float32)
    standard = scaling.apply(training.embeddings)
    penalty = HeadParams().penalty
    head = train_head(standard, training.targets, len(clips.labels), penalty, clips.device, weights)
    return head.unscaled(scaling)


def _head_of_balanced(
    clips: Embedded, method: EmbeddingBalance | Decoupled | Oversample | Undersample, seed: int
) -> ChangedHead:
    if isinstance(method, Oversample | Undersample):
        method = Decoupled(method="decoupled", resampling=method.method, ratio=method.ratio, counts=method.counts)
    names = np.array(clips.labels)[clips.training.targets]
    return head_on_embeddings(clips.training.embeddings, names, clips.labels, method, seed, clips.device)


def _fitted(clips: Embedded, method: AfterTraining, plain: LinearHead, seeds: Sequence[int]) -> list[Scored]:
    made = [changed_head(method, plain, clips.counts, clips.validation, clips.labels, seed) for seed in seeds]
    return [
        Scored(
            clips.validation.logits(each.head) if each.held_out is None else each.held_out,
            clips.test.logits(each.head),
        )
        for each in made
    ]
