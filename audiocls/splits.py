"""Which clip is in which split: given by the source, or made so that no group straddles."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray

from audiocls.atomic import write_table
from audiocls.errors import DataError, name_some
from audiocls.leakage import (
    check_copies,
    check_disjoint,
    check_near_duplicates,
    linked_groups,
    move_copies,
    report_label_conflicts,
)
from audiocls.ledger import remembered_splits
from audiocls.manifest import SPLITS
from audiocls.params import SplitParams

logger = logging.getLogger(__name__)

TRAIN, VALIDATION, TEST = range(3)
# A move must gain this much per class that it touches: those that gain most come first, so that few groups leave the
# split of their hash; and then whatever gains, for as long as something does.
_LEAST_GAINS = (0.4, 0.1, 0.01, *[1e-9] * 20)


def assign_splits(
    clips: Path,
    params: SplitParams,
    seed: int,
    workspace: Path,
    ledger: Path | None = None,
    near_duplicates: Path | None = None,
) -> Path:
    """Fill the column `split` of a clips table, check it, and return the path of the result.

    Splits that the source gives are kept; of validation and test, what it gives no clip of is made out of its training
    clips, group by group. Groups with a recording in common count as one.

    Args:
        clips: The clips table of a corpus.
        params: How much is held out, and what to do about copies across given splits.
        seed: Draws the split.
        workspace: Gets the result.
        ledger: Remembers where each group is, so that none moves when others come or go; None remembers nothing.
        near_duplicates: The pairs found in the corpus, which count as copies unless `params` says to ignore them; None
            where nobody has looked for them.

    Raises:
        LeakageError: A group, or a copy or near-duplicate of a recording, stands in more than one split.
        DataError: There is one class alone, or a class without training clips, or a split without clips.
    """
    table = pd.read_parquet(clips)
    report_label_conflicts(table)
    used = near_duplicates is not None and params.near_duplicates != "ignore"
    near = pd.read_parquet(near_duplicates) if used else None
    # What the checks refuse is not remembered: the next try starts anew.
    memory: AbstractContextManager[dict[str, str]] = remembered_splits(ledger) if ledger else nullcontext({})
    with memory as remembered:
        table["split"] = _splits_of(table, params, seed, remembered, near)
        table["split"] = _moved(table, params, near)
        check_disjoint(table)
        check_copies(table)
        if near is not None:
            check_near_duplicates(table, near)
        check_classes(table)
    rows = table[["clip_id", "split"]].astype(str)
    digest = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    name = f"{clips.parent.name}-{digest.hexdigest()[:12]}"
    return write_table(table, workspace / "splits" / f"{name}.parquet")


def _moved(table: pd.DataFrame, params: SplitParams, near: pd.DataFrame | None) -> pd.Series:
    """Return the split of each clip after copies were moved, of the kinds that may be."""
    if params.duplicates == "move":
        return move_copies(table, near if params.near_duplicates == "move" else None)
    if params.near_duplicates == "move":
        check_disjoint(table)
        check_copies(table)  # they are to stop the run, and must not be moved along
        return move_copies(table, near)
    return table["split"]


def ledger_of(experiment: str, params: SplitParams, seed: int, workspace: Path) -> Path:
    """Name the ledger of an experiment: its runs share one for as long as the seed and the shares stay the same."""
    settings = f"{experiment}\x1f{params.test_fraction}\x1f{params.validation_fraction}\x1f{seed}"
    return workspace / "splits" / f"ledger-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.parquet"


def _splits_of(
    table: pd.DataFrame, params: SplitParams, seed: int, remembered: dict[str, str], near: pd.DataFrame | None
) -> pd.Series:
    given = table["split"].where(table["split"].notna(), "train")
    present = set(given)
    test = 0.0 if "test" in present else params.test_fraction
    validation = 0.0 if "validation" in present else params.validation_fraction
    if "train" not in present or (not test and not validation):
        return given
    check_disjoint(table.assign(split=given))
    if table["split"].notna().any():
        missing = [name for name, share in (("validation", validation), ("test", test)) if share]
        logger.warning(
            "The given split has no %s clips; they are made out of its training clips.", " and no ".join(missing)
        )
    pool = table[given == "train"]
    made = _make(pool, test, validation, seed, remembered, near)
    return given.mask(given == "train", made)


def _make(
    pool: pd.DataFrame,
    test: float,
    validation: float,
    seed: int,
    remembered: dict[str, str],
    near: pd.DataFrame | None,
) -> pd.Series:
    """Split the clips of a pool, the groups met before as they were, and remember the new ones."""
    units = linked_groups(pool, near)
    earlier = pool["group"].map(remembered).dropna()
    # Where a new copy links groups that were in different splits, training takes them: what was trained on must not
    # come into the test.
    fixed = earlier.map(SPLITS.index).groupby(units[earlier.index]).min().map(dict(enumerate(SPLITS)))
    made = split_groups(units, pool["label"], test, validation, seed, fixed.to_dict())
    remembered.update(zip(pool["group"], made, strict=True))
    return made


def split_groups(
    groups: pd.Series,
    labels: pd.Series,
    test: float,
    validation: float,
    seed: int,
    fixed: Mapping[str, str] | None = None,
) -> pd.Series:
    """Split clips by group: by a hash of the group's name, with some groups moved so that classes are stratified.

    The hash alone would never move a group when others come or go; the moves, those that gain most first and among
    these the nearest to a threshold, are about as few as stratification needs.

    A class of three groups or more is in all three splits, unless groups of several classes stand in the way. A class
    of fewer is in training before anything else.

    Args:
        groups: Group name of each clip, shape (num_clips,).
        labels: Class of each clip, the same index.
        test: Share of the clips for test, in [0, 1).
        validation: Share for validation; test + validation < 1.
        seed: Draws the hashes.
        fixed: Split of the groups that must stay where they are; what is new is stratified around them.

    Returns:
        "train", "validation" or "test" of each clip, with the index of `groups`.
    """
    codes, names = pd.factorize(groups, sort=True)
    classes, _ = pd.factorize(labels, sort=True)
    counts = scipy.sparse.csr_matrix((np.ones(len(codes)), (codes, classes)))
    counts.sum_duplicates()
    hashes = np.array([_hash(name, seed) for name in names])
    split = np.where(hashes < test, TEST, np.where(hashes < test + validation, VALIDATION, TRAIN))
    shares = np.array([1 - test - validation, validation, test])
    distance = np.minimum(np.abs(hashes - test), np.abs(hashes - test - validation))
    order = np.argsort(distance, kind="stable")
    if fixed:
        stays = np.array([name in fixed for name in names])
        split[stays] = [SPLITS.index(fixed[name]) for name in names[stays]]
        order = order[~stays[order]]
    _stratify(split, counts, shares, order)
    return pd.Series(np.array(SPLITS)[split[codes]], index=groups.index)


def _hash(name: str, seed: int) -> float:
    """Map a name to a number that is uniform in [0, 1)."""
    digest = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _stratify(
    split: NDArray[np.int64], counts: scipy.sparse.csr_matrix, shares: NDArray[np.float64], order: NDArray[np.int64]
) -> None:
    """Move single groups in place, for as long as that brings the classes nearer to their shares.

    Args:
        split: Split of each group, shape (num_groups,).
        counts: Clips by group and class, shape (num_groups, num_classes).
        shares: Share of each split, shape (3,).
        order: Groups in the order in which they are tried; those that are not named stay where they are.
    """
    # All clips together count as one more class, so that no split is left empty; its distance counts a ninth.
    counts = scipy.sparse.hstack([counts, counts.sum(axis=1)]).tocsr()
    total = np.asarray(counts.sum(axis=0)).ravel()
    scale = np.append(total[:-1], 3 * total[-1])
    want = shares[:, None] * total
    # What is larger than a held-out split of its class starts in training: no single move would bring it there later.
    held_out = shares[1:].max()
    large = np.asarray((counts.multiply(1 / total) > held_out).sum(axis=1)).ravel() > 0
    split[order[large[order]]] = TRAIN
    have = np.stack([np.asarray(counts[split == s].sum(axis=0)).ravel() for s in range(3)])
    # A class that cannot be learnt outweighs every distance. A class that is in no score weighs 1/2: more than moving
    # the smaller of two groups can cost, and less than what is gained where most clips leave a held-out split.
    absent = np.array([[3.0 * len(total)], [0.5], [0.5]])

    def cost(clips: NDArray[np.float64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        """Squared distance to the target as a share of the class, and what is absent, of each split, shape (3,)."""
        distance = np.square((clips - want[:, columns]) / scale[columns])
        return (distance + absent * (clips == 0)).sum(axis=1)

    for least_gain in _LEAST_GAINS:
        moves = 0
        for group in order:
            row = slice(counts.indptr[group], counts.indptr[group + 1])
            columns, clips, now = counts.indices[row], counts.data[row], split[group]
            others = have[:, columns]
            others[now] -= clips
            costs = np.where(shares > 0, cost(others + clips, columns) - cost(others, columns), np.inf)
            to = int(costs.argmin())
            if costs[now] - costs[to] > least_gain * len(columns):
                have[:, columns] = others
                have[to, columns] += clips
                split[group] = to
                moves += 1
        if not moves and least_gain == _LEAST_GAINS[-1]:
            return


def check_classes(table: pd.DataFrame) -> None:
    """Stop where training or testing would mean nothing; warn where a class is left out of a score.

    Raises:
        DataError: One class alone, an empty split, or classes without training clips.
    """
    counts = pd.crosstab(table["label"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    if len(counts) < 2:
        raise DataError(
            f"all {len(table)} usable clips are of the class {counts.index[0]!r}; a classifier needs two or more."
        )
    empty = [name for name in SPLITS if not counts[name].any()]
    if empty:
        raise DataError(
            f"the split has no {' and no '.join(empty)} clips: there are {len(table)} clips in "
            f"{table['group'].nunique()} groups. "
            "A given split needs training clips, and a made one three groups or more."
        )
    unseen = counts.index[counts["train"] == 0]
    if len(unseen):
        raise DataError(
            f"{len(unseen)} classes have no training clips: {name_some(unseen)}. "
            "Add clips of other groups, or drop the classes."
        )
    for name in ("validation", "test"):
        absent = counts.index[counts[name] == 0]
        if len(absent):
            logger.warning("%d classes have no %s clips, and no score there: %s", len(absent), name, name_some(absent))
