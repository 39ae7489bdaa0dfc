"""Which clip is in which split: given by the source, or made so that no group straddles."""

from __future__ import annotations

import hashlib
import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pandas as pd

from audiocls.atomic import write_table
from audiocls.errors import DataError, name_some
from audiocls.folds import split_folds
from audiocls.leakage import (
    check_copies,
    check_disjoint,
    check_near_duplicates,
    linked_groups,
    move_copies,
    report_label_conflicts,
)
from audiocls.ledger import recall, remember, remembered_splits
from audiocls.manifest import SPLITS
from audiocls.params import SplitParams
from audiocls.stratification import split_groups

logger = logging.getLogger(__name__)


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
    clips, group by group. Groups with a recording in common count as one. With `split.folds` one fold is for test.

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
        met = not recall(table, remembered).empty
        table["split"] = _splits_of(table, params, seed, remembered, near)
        table["split"] = _moved(table, params, near)
        check_disjoint(table)
        check_copies(table)
        if near is not None:
            check_near_duplicates(table, near)
        check_classes(table, ledger if met else None)
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
    """Name the ledger of an experiment: its runs share one for as long as the seed and the shares stay the same.

    The folds of one cross-validation share one as well.
    """
    shares = f"{params.folds} folds" if params.folds else params.test_share
    settings = f"{experiment}\x1f{shares}\x1f{params.validation_fraction}\x1f{seed}"
    return workspace / "splits" / f"ledger-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.parquet"


def _splits_of(
    table: pd.DataFrame, params: SplitParams, seed: int, remembered: dict[str, str], near: pd.DataFrame | None
) -> pd.Series:
    if params.folds:
        return split_folds(table, params.folds, params.validation_fraction, seed, remembered, near)[params.fold]
    given = table["split"].where(table["split"].notna(), "train")
    present = set(given)
    test = 0.0 if "test" in present else params.test_share
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
    earlier = recall(pool, remembered)
    # A split that is given takes no group of the pool, whatever an earlier run made of it.
    earlier = earlier[
        ~earlier.isin([name for name, share in (("test", test), ("validation", validation)) if not share])
    ]
    # Where a new copy links groups that were in different splits, training takes them: what was trained on must not
    # come into the test.
    fixed = earlier.map(SPLITS.index).groupby(units[earlier.index]).min().map(dict(enumerate(SPLITS)))
    made = split_groups(units, pool["label"], test, validation, seed, fixed.to_dict())
    _tell_moves(pool, earlier, made)
    remember(pool, made, remembered)
    return made


def _tell_moves(pool: pd.DataFrame, earlier: pd.Series, made: pd.Series) -> None:
    moved = earlier[earlier != made[earlier.index]]
    if not moved.empty:
        logger.warning(
            "%d clips of groups that were in validation or test go to training, as a copy that is new links them to "
            "a group that was trained on; scores from now on are of a smaller test: %s",
            len(moved),
            name_some(pool.loc[moved.index, "group"].unique()),
        )


def check_classes(table: pd.DataFrame, ledger: Path | None = None) -> None:
    """Stop where training or testing would mean nothing; warn where a class is left out of a score.

    Args:
        table: The clips with their splits.
        ledger: What some of them were put by, where it is one.

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
            + (
                ""
                if ledger is None
                else f" Groups that an earlier run split stay where they were ({ledger}): for a part of that corpus, "
                "or another one, give the run another `experiment`."
            )
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
