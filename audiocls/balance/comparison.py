"""Balance methods side by side: heads on the same embeddings, scored on validation, each against doing nothing.

The test split is not looked at, so that the method that is chosen here can still be tested. What is fitted on
validation (`tau`, thresholds) is fitted on one half of its groups and scored on the other, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.balance.blends import balance_embeddings
from audiocls.balance.heads import LinearHead, Scaling, train_head
from audiocls.balance.offsets import ADJUSTMENT_TAUS, NORM_TAUS, adjusted, best_by_macro_f1, fit_offsets, tau_normalised
from audiocls.balance.weights import inverse_frequency_weights
from audiocls.balance_params import BlendParams
from audiocls.metrics import summary_metrics

METHODS: Final = (
    "none", "oversample", "undersample", "weighted_loss", "smote", "borderline_smote", "adasyn",
    "tau_norm", "post_hoc_logit_adjustment", "class_thresholds",
)  # fmt: skip
"""Those that change the head alone, so that all can have one encoder. Cleaning (tomek, enn) takes minutes."""

_SEEDED: Final = ("oversample", "undersample", "smote", "borderline_smote", "adasyn")
_FITTED: Final = ("tau_norm", "post_hoc_logit_adjustment", "class_thresholds")
_REPLICATES: Final = 2_000
_BINS: Final = 15

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clips:
    """Embedded clips."""

    embeddings: NDArray[np.float32]  # (num_clips, dim)
    targets: NDArray[np.int64]  # (num_clips,), class indices
    groups: NDArray[np.object_]  # (num_clips,)


def compare_methods(
    training: Clips,
    validation: Clips,
    num_classes: int,
    params: BlendParams,
    *,
    penalty: float,
    seeds: tuple[int, ...],
    methods: tuple[str, ...] = METHODS,
    device: str = "cpu",
) -> dict[str, list[Floats]]:
    """Return the logits of the validation clips, (num_clips, num_classes), by method and then by seed.

    Args:
        training: What heads are trained on; every class is there.
        validation: What they are scored on.
        num_classes: Classes in all.
        params: Of the methods that balance embeddings.
        penalty: Of the head.
        seeds: Draw copies, blends, and the halves of validation.
        methods: Some of METHODS; `none` is among them.
        device: "cuda" or "cpu".
    """
    scaling = Scaling.of(training.embeddings)
    standard = Clips(scaling.apply(training.embeddings), training.targets, training.groups)
    scored = scaling.apply(validation.embeddings)
    counts = np.bincount(training.targets, minlength=num_classes)
    plain = train_head(standard.embeddings, training.targets, num_classes, penalty, device)
    weights = inverse_frequency_weights(counts).astype(np.float32)
    found: dict[str, list[Floats]] = {}
    for method in methods:
        match method:
            case "none":
                logits = [plain.logits(scored)] * len(seeds)
            case "weighted_loss":
                head = train_head(standard.embeddings, training.targets, num_classes, penalty, device, weights)
                logits = [head.logits(scored)] * len(seeds)
            case _ if method in _SEEDED:
                logits = [
                    _balanced_head(standard, num_classes, method, params, penalty, seed, device).logits(scored)
                    for seed in seeds
                ]
            case _:
                logits = [_cross_fitted(plain, method, counts, scored, validation, seed) for seed in seeds]
        found[method] = logits
    return found


def _balanced_head(
    clips: Clips, num_classes: int, method: str, params: BlendParams, penalty: float, seed: int, device: str
) -> LinearHead:
    # Names that sort as the class indices do.
    names = np.array([f"{target:06d}" for target in clips.targets])
    blends = balance_embeddings(clips.embeddings, names, method, params, seed)
    return train_head(blends.embeddings(clips.embeddings), blends.labels.astype(np.int64), num_classes, penalty, device)


def _cross_fitted(
    plain: LinearHead,
    method: str,
    counts: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    clips: Clips,
    seed: int,
) -> Floats:
    """Fit on one half of the groups, score the other, and the other way round."""
    groups = np.unique(clips.groups.astype(str))
    half = np.random.default_rng(seed).permutation(groups)[: len(groups) // 2]
    first = np.isin(clips.groups.astype(str), half)
    logits = np.empty((len(embeddings), len(counts)))
    for fitted, scored in ((first, ~first), (~first, first)):
        if not fitted.any():  # one group alone: there is nothing to fit on
            logits[scored] = plain.logits(embeddings[scored])
            continue
        head = _fitted(plain, method, counts, embeddings[fitted], clips.targets[fitted])
        logits[scored] = head.logits(embeddings[scored])
    return logits


def _fitted(
    plain: LinearHead,
    method: str,
    counts: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> LinearHead:
    if method == "class_thresholds":
        return LinearHead(plain.weight, plain.bias + fit_offsets(plain.logits(embeddings), targets))
    if method == "tau_norm":
        heads = {float(tau): tau_normalised(plain, float(tau)) for tau in NORM_TAUS}
    else:
        heads = {float(tau): adjusted(plain, counts, float(tau)) for tau in ADJUSTMENT_TAUS}
    return heads[best_by_macro_f1({tau: head.logits(embeddings) for tau, head in heads.items()}, targets)]


def compare_scores(logits: dict[str, list[Floats]], clips: Clips, counts: NDArray[np.int64], seed: int) -> pd.DataFrame:
    """Score the methods, with intervals by bootstrap over groups, the same groups for all.

    Args:
        logits: Of `compare_methods`, `none` among them.
        clips: The clips that they are of.
        counts: Training clips per class, which say which third of the classes is the rarest and the most frequent.
        seed: Draws the groups.

    Returns:
        A row a method, the best macro-F1 first: `method`, `f1_macro`, `low`, `high`, `gain` over `none`, `gain_low`,
        `gain_high` (95 %), `balanced_accuracy`, `f1_rarest_third`, `f1_most_frequent_third`, `calibration_error`; means
        over the seeds.
    """
    draws = _group_draws(clips.groups, seed)
    third = max(1, len(counts) // 3)
    by_count = np.argsort(counts, kind="stable")
    replicates = {
        name: np.mean([_replicates(each.argmax(axis=1), clips, draws, len(counts)) for each in seeds], axis=0)
        for name, seeds in logits.items()
    }
    rows = []
    for name, seeds in logits.items():
        gains = replicates[name] - replicates["none"]
        scores = pd.DataFrame([_scores(each, clips.targets, by_count[:third], by_count[-third:]) for each in seeds])
        low, high = np.percentile(replicates[name], [2.5, 97.5])
        gain_low, gain_high = np.percentile(gains, [2.5, 97.5])
        interval = {"low": low, "high": high, "gain_low": gain_low, "gain_high": gain_high}
        rows.append({"method": name} | scores.mean().to_dict() | interval)
    table = pd.DataFrame(rows)
    table["gain"] = table["f1_macro"] - table.loc[table["method"] == "none", "f1_macro"].iloc[0]
    order = ["method", "f1_macro", "low", "high", "gain", "gain_low", "gain_high"]
    table = table[order + [name for name in table.columns if name not in order]]
    return table.sort_values("f1_macro", ascending=False, kind="stable", ignore_index=True)


def verdict(table: pd.DataFrame) -> str:
    """Say in one sentence which method to take, or that none helps."""
    others = table[table["method"] != "none"]
    helping = others[others["gain_low"] > 0]
    if helping.empty:
        best = others.iloc[0]
        return (
            f"Balancing did not help here: of {len(others)} methods the best, {best.method}, changes macro-F1 by "
            f"{best.gain:+.3f} ({best.gain_low:+.3f} to {best.gain_high:+.3f}), so take none."
        )
    best, plain = helping.iloc[0], table[table["method"] == "none"].iloc[0]
    return (
        f"Take {best.method}: macro-F1 {best.gain:+.3f} ({best.gain_low:+.3f} to {best.gain_high:+.3f}) over none, the "
        f"rarest third of the classes {best.f1_rarest_third - plain.f1_rarest_third:+.3f}, the most frequent third "
        f"{best.f1_most_frequent_third - plain.f1_most_frequent_third:+.3f}."
    )


def _group_draws(groups: NDArray[np.object_], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each clip's group index, and how often each group is drawn: (replicates, num_groups)."""
    names, index = np.unique(groups.astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    return index, rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_REPLICATES)


def _replicates(
    predicted: NDArray[np.int64], clips: Clips, draws: tuple[NDArray[np.int64], NDArray[np.int64]], num_classes: int
) -> Floats:
    """Return the macro-F1 of each draw of groups, over the classes that it has, (replicates,)."""
    index, times = draws

    def drawn(classes: NDArray[np.int64], rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        table = np.zeros((times.shape[1], num_classes))
        np.add.at(table, (index[rows], classes[rows]), 1)
        return times @ table

    true, found, right = drawn(clips.targets), drawn(predicted), drawn(predicted, predicted == clips.targets)
    f1 = np.where(true > 0, 2 * right / np.maximum(true + found, 1), np.nan)
    mean: Floats = np.nanmean(f1, axis=1)
    return mean


def _scores(
    logits: Floats, targets: NDArray[np.int64], rarest: NDArray[np.int64], most_frequent: NDArray[np.int64]
) -> dict[str, float]:
    predicted = logits.argmax(axis=1)
    summary = summary_metrics(targets, predicted)
    true, found, right = (
        np.bincount(classes, minlength=logits.shape[1])
        for classes in (targets, predicted, targets[targets == predicted])
    )
    f1 = np.where(true > 0, 2 * right / np.maximum(true + found, 1), np.nan)
    return {
        "f1_macro": summary["f1_macro"],
        "balanced_accuracy": summary["balanced_accuracy"],
        "f1_rarest_third": float(np.nanmean(f1[rarest])) if true[rarest].any() else np.nan,
        "f1_most_frequent_third": float(np.nanmean(f1[most_frequent])) if true[most_frequent].any() else np.nan,
        "calibration_error": _calibration_error(logits, targets),
    }


def _calibration_error(logits: Floats, targets: NDArray[np.int64]) -> float:
    """Return the expected calibration error in 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599)."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(targets))
