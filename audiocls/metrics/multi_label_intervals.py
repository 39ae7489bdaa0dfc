"""The metrics of clips with any number of labels without each group, for the intervals of `intervals.py`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.metrics.intervals import (
    GroupCounts,
    Jackknife,
    effective_number,
    f1_macro,
    jackknife,
    jackknife_auroc,
)
from audiocls.metrics.multi_label import lwlrap_parts

Floats = NDArray[np.floating[Any]]

MOST_BLOCKS: Final = 200
"""More groups are joined at random into so many blocks, of which each is left out once."""


def multi_label_jackknife(
    targets: Floats, probabilities: Floats, predicted: NDArray[np.bool_], groups: NDArray[Any], seed: int = 0
) -> dict[str, Jackknife]:
    """Compute the metrics of one model without each group.

    Args:
        targets: 1, 0 or NaN (unknown), shape (num_clips, num_classes).
        probabilities: The same shape.
        predicted: Which labels are predicted, the same shape.
        groups: Groups of the clips, shape (num_clips,).
        seed: Of the blocks, if there are more groups than MOST_BLOCKS.

    Returns:
        `map_macro`, `map_micro`, `auroc_macro`, `lwlrap`, `f1_macro`, `f1_micro` and `exact_match`, each with an axis
        of one seed.
    """
    blocks = blocks_of(groups, seed)
    known = ~np.isnan(targets)
    true, found = known & (targets == 1), known & predicted
    counts = GroupCounts.of_label_sets(true, found, blocks)
    effective = jackknife(counts, f1_macro).effective_groups
    ranked, areas = _by_class(targets, probabilities, blocks)
    precision, labels = lwlrap_parts(targets, probabilities)
    exact = (found == true).all(axis=1, where=known)
    scores = {
        "map_macro": mean_of_classes(ranked),
        "map_micro": _micro(targets, probabilities, blocks),
        "auroc_macro": mean_of_classes(areas),
        "lwlrap": _ratio_without_each(precision, labels, blocks),
        "f1_micro": _ratio_without_each(2.0 * (true & found).sum(axis=1), true.sum(axis=1) + found.sum(axis=1), blocks),
        "exact_match": _ratio_without_each(exact, np.ones(len(exact)), blocks),
    }
    found_scores = {name: Jackknife(whole, without, effective) for name, (whole, without) in scores.items()}
    return found_scores | {"f1_macro": jackknife(counts, f1_macro)}


def blocks_of(groups: NDArray[Any], seed: int = 0) -> NDArray[np.int64]:
    """Number the groups, or join them at random into MOST_BLOCKS blocks, if there are more; (num_clips,)."""
    names, group = np.unique(groups, return_inverse=True)
    if len(names) <= MOST_BLOCKS:
        return group
    return (np.random.default_rng(seed).permutation(len(names)) % MOST_BLOCKS)[group]


def _ratio_without_each(
    part: NDArray[Any], whole: NDArray[Any], blocks: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    parts, wholes = (np.bincount(blocks, each.astype(np.float64)) for each in (part, whole))
    left = np.maximum(wholes.sum() - wholes, 1e-12)
    return np.array([parts.sum() / max(wholes.sum(), 1e-12)]), ((parts.sum() - parts) / left)[None]


def _by_class(
    targets: Floats, probabilities: Floats, blocks: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return average precision and area of each class, of all blocks and then without each, (classes, 1 + blocks)."""
    ranked, areas = [], []
    for true, scores in zip(targets.T, probabilities.T, strict=True):
        known = ~np.isnan(true)
        if not 0 < true[known].sum() < known.sum():
            continue
        kept, present = blocks[known], true[known] == 1
        ranked.append(average_precision_without_each(present, scores[known], kept, int(blocks.max()) + 1))
        area = jackknife_auroc(scores[known][None].astype(np.float64), present, kept)
        # A block without a known clip of this class changes nothing.
        without = np.full(int(blocks.max()) + 1, area.whole[0])
        without[np.unique(kept)] = area.without[0]
        areas.append(np.append(area.whole, without))
    return np.array(ranked), np.array(areas)


def average_precision_without_each(
    present: NDArray[np.bool_], scores: Floats, blocks: NDArray[np.int64], num_blocks: int
) -> NDArray[np.float64]:
    """Return the average precision of all clips, and then without each block; NaN without a positive clip left.

    Args:
        present: Which clips have the label, shape (num_clips,).
        scores: Higher if the label is more likely, the same shape.
        blocks: Block of each clip, the same shape.
        num_blocks: Number of blocks.

    Returns:
        Shape (1 + num_blocks,).
    """
    order = np.argsort(-scores, kind="stable")
    present, blocks, scores = present[order], blocks[order], scores[order]
    # Equal scores form one step of the curve: all see the counts at its end. Only steps with positives add to the area.
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    positives = np.flatnonzero(present)
    ends, step_of, gained = np.unique(ends[np.searchsorted(ends, positives)], return_inverse=True, return_counts=True)
    hits, ranks = np.cumsum(present)[ends], ends + 1
    found = np.empty(1 + num_blocks)
    found[0] = (gained * hits / ranks).sum() / len(positives)
    by_block = np.argsort(blocks, kind="stable")
    starts = np.searchsorted(blocks[by_block], np.arange(num_blocks + 1))
    own_starts = np.searchsorted(np.sort(blocks[positives]), np.arange(num_blocks + 1))
    own_steps = step_of[np.argsort(blocks[positives], kind="stable")]
    for block in range(num_blocks):
        inside = by_block[starts[block] : starts[block + 1]]
        steps = np.bincount(own_steps[own_starts[block] : own_starts[block + 1]], minlength=len(ends))
        left = gained - steps
        left_ranks = ranks - np.searchsorted(inside, ends, side="right")
        terms = left * (hits - np.cumsum(steps)) / np.maximum(left_ranks, 1)
        found[1 + block] = terms.sum() / left.sum() if left.any() else np.nan
    return found


def jackknife_average_precision(
    present: NDArray[np.bool_], scores: Floats, groups: NDArray[Any], seed: int = 0
) -> Jackknife:
    """Compute the average precision of one label without each group.

    Args:
        present: Which clips have the label, shape (num_clips,).
        scores: Higher if the label is more likely, the same shape.
        groups: Groups of the clips, the same shape.
        seed: Of the blocks, if there are more groups than MOST_BLOCKS.
    """
    blocks = blocks_of(groups, seed)
    found = average_precision_without_each(present, scores, blocks, int(blocks.max()) + 1)
    without = np.where(np.isnan(found[1:]), found[0], found[1:])
    return Jackknife(found[:1], without[None], effective_number(np.bincount(blocks).astype(np.float64)))


def _micro(
    targets: Floats, probabilities: Floats, blocks: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the average precision over all known labels, (1,), and without each block, (1, num_blocks)."""
    known = ~np.isnan(targets)
    present = targets[known] == 1
    if not 0 < present.sum() < len(present):
        return np.array([np.nan]), np.full((1, int(blocks.max()) + 1), np.nan)
    of_labels = np.broadcast_to(blocks[:, None], targets.shape)[known]
    found = average_precision_without_each(present, probabilities[known], of_labels, int(blocks.max()) + 1)
    return found[:1], found[None, 1:]


def mean_of_classes(by_class: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over the classes of all blocks, (1,), and without each, (1, num_blocks)."""
    if not len(by_class):
        return np.array([np.nan]), np.full((1, 1), np.nan)
    # A class that only one block has keeps its score without that block, as in `intervals.jackknife`.
    filled = np.where(np.isnan(by_class), by_class[:, :1], by_class)
    means = filled.mean(axis=0)
    return means[:1], means[None, 1:]
