"""Assign each clip to a split: the one given by the source, or a generated one that keeps groups together."""

from __future__ import annotations

import hashlib
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from audiocls.errors import DataError, counted, name_some
from audiocls.files import write_table
from audiocls.params import SplitParams
from audiocls.sources import SPLITS, by_label, is_multi_label, label_columns
from audiocls.splits.copies import SharedSound, leave_out
from audiocls.splits.dropped import write_dropped
from audiocls.splits.folds import split_folds
from audiocls.splits.leakage import (
    check_copies,
    check_disjoint,
    check_near_duplicates,
    move_copies,
    report_label_conflicts,
)
from audiocls.splits.ledger import KnownSound, recall, remember_groups, remember_sounds, remembered_splits
from audiocls.splits.stratification import labels_to_stratify, split_groups
from audiocls.splits.units import hold, make_units, warn_wide

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

    Splits given by the source are kept. If it gives no validation or test clips, these are taken from its training
    clips, group by group. Groups that share a recording count as one. With `split.folds`, one fold is the test split.

    Copies across given splits raise an error, or are dropped or moved, as `params` say; see `copies.leave_out`. In a
    generated split, copies never raise an error. Dropped clips are listed in a table beside the result; see `dropped`.

    Args:
        clips: The clips table of a corpus.
        params: How much is held out, and what to do about copies across splits.
        seed: Random seed of the split.
        workspace: Where the result is written.
        ledger: Remembers the split of each group and sound, so that none moves when data is added or removed; None
            remembers nothing. A given split takes precedence.
        near_duplicates: The pairs found in the corpus, which count as copies unless `params` ignore them; None if
            they were not searched for.

    Raises:
        LeakageError: A group, or a copy or near-duplicate of a recording, is in more than one split.
        DataError: There is only one class, a class has no training clips, or a split is empty.
    """
    table = pd.read_parquet(clips)
    report_label_conflicts(table)
    used = near_duplicates is not None and params.near_duplicates != "ignore"
    near = pd.read_parquet(near_duplicates) if used else None
    # A split that fails the checks is not remembered: the next attempt starts from scratch.
    memory: AbstractContextManager[dict[str, str]] = remembered_splits(ledger) if ledger else nullcontext({})
    with memory as remembered:
        recalled = not recall(table, remembered).empty
        draft = _draft(table, params, seed, remembered, near)
        kept, dropped = _settle(table, draft, params, remembered, near)
        check_classes(kept, ledger if recalled and draft.pool.any() else None, dropped)
    rows = kept[["clip_id", "split"]].astype(str)
    digest = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    name = f"{clips.parent.name}-{digest.hexdigest()[:12]}"
    written = write_table(kept.reset_index(drop=True), workspace / "splits" / f"{name}.parquet")
    write_dropped(dropped, written)
    return written


@dataclass(frozen=True, slots=True)
class _Draft:
    """Splits before copies are handled."""

    splits: pd.DataFrame  # one column per fold, or a single one
    column: int  # the column of this run
    pool: pd.Series  # whether a clip's split was generated, not given
    made: tuple[str, ...]  # the splits that a clip of the pool may be in


def _draft(
    table: pd.DataFrame, params: SplitParams, seed: int, remembered: dict[str, str], near: pd.DataFrame | None
) -> _Draft:
    everything = pd.Series(True, table.index)
    if params.folds:
        units = _units(table, params, near)
        made = split_folds(table, params.folds, params.validation_fraction, seed, remembered, units=units)
        return _Draft(made, params.fold or 0, everything, SPLITS)
    given = table["split"].where(table["split"].notna(), "train")
    present = set(given)
    test = 0.0 if "test" in present else params.test_share
    validation = 0.0 if "validation" in present else params.validation_fraction
    if "train" not in present or (not test and not validation):
        return _Draft(given.to_frame(0), 0, ~everything, ())
    check_disjoint(table.assign(split=given))
    if table["split"].notna().any():
        missing = [name for name, fraction in (("validation", validation), ("test", test)) if fraction]
        logger.warning(
            "The given split has no %s clips; they are taken from its training clips.", " and no ".join(missing)
        )
    pool = table[given == "train"]
    allowed = ("train", *(["validation"] if validation else []), *(["test"] if test else []))
    # A given split takes no groups from the pool, whatever an earlier run assigned.
    recalled = recall(pool, remembered)
    units, fixed = hold(_units(pool, params, near), recalled[recalled.isin(allowed)])
    made = split_groups(units, labels_to_stratify(pool), test, validation, seed, fixed)
    return _Draft(given.mask(given == "train", made).to_frame(0), 0, given == "train", allowed)


def _units(pool: pd.DataFrame, params: SplitParams, near: pd.DataFrame | None) -> pd.Series:
    """Return the units that a generated split keeps together, and warn about wide ones."""
    linking = near if params.near_duplicates != "drop" else None
    units, wide = make_units(pool, linking, exact=params.duplicates != "drop")
    warn_wide(wide)
    return units


def _settle(
    table: pd.DataFrame, draft: _Draft, params: SplitParams, remembered: dict[str, str], near: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop or move copies, check the result, and remember it; return the kept and the dropped clips."""
    used = draft.splits.astype(object)
    left_out = _leave_out_made(table, draft, remembered, near)
    for fold, rows in left_out.items():
        used.loc[rows.index, fold] = None
    table = table.assign(split=draft.splits[draft.column])
    kept, more = _resolve(table.drop(left_out[draft.column].index), params, near)
    final = kept["split"].reindex(table.index).astype(object)
    if draft.made != SPLITS:
        _warn_moved(kept, remembered)
    used[draft.column] = final
    remember_groups(table, used.fillna(draft.splits), remembered)
    remember_sounds(table, used, remembered, near)
    rows = pd.concat([left_out[draft.column], more])
    return kept, table[["clip_id", *label_columns(table), "group", "split"]].join(rows, how="inner")


def _leave_out_made(
    table: pd.DataFrame, draft: _Draft, remembered: dict[str, str], near: pd.DataFrame | None
) -> dict[int, pd.DataFrame]:
    """Apply `copies.leave_out`, by fold, to clips whose split was generated; for others the params decide."""
    pool = table[draft.pool]
    known = KnownSound(pool, remembered)
    left_out = {}
    for fold in draft.splits:
        finders = {name: partial(known.find, split=name, fold=fold) for name in draft.made}
        left_out[fold] = leave_out(pool.assign(split=draft.splits.loc[pool.index, fold]), near, finders)
    return left_out


def _warn_moved(table: pd.DataFrame, remembered: dict[str, str]) -> None:
    """Warn about clips that a given split, which overrides the ledger, puts elsewhere than an earlier run did."""
    known, sound = KnownSound(table, remembered), SharedSound(table)
    for name in SPLITS:
        elsewhere = table[(known.find(sound, name) >= 0) & (table["split"] != name)]
        if not elsewhere.empty:
            logger.warning(
                "%s in %s in an earlier run, but the given split puts them elsewhere; "
                "models of the two runs cannot be compared on them: %s",
                counted(len(elsewhere), "clip, or a part of it, was", "clips, or parts of them, were"),
                name,
                name_some(f"{row.clip_id} ({row.split})" for row in elsewhere.itertuples()),
            )


def _resolve(table: pd.DataFrame, params: SplitParams, near: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Handle copies across splits as the params say; return the kept clips, and why others were dropped."""
    dropped = leave_out(table[:0])
    if params.duplicates == "move":
        table = table.assign(split=move_copies(table, near if params.near_duplicates == "move" else None))
    check_disjoint(table)
    if params.duplicates == "drop":
        table, dropped = _without(table, leave_out(table))
    check_copies(table)
    if near is None:
        return table, dropped
    more = dropped[:0]
    if params.near_duplicates == "move":
        table = table.assign(split=move_copies(table, near))
    elif params.near_duplicates == "drop":
        table, more = _without(table, leave_out(table, near))
    check_near_duplicates(table, near)
    return table, pd.concat([dropped, more])


def _without(table: pd.DataFrame, left_out: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return table.drop(left_out.index), left_out


def _check_contrast(table: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Raise an error if there is nothing to tell apart."""
    if is_multi_label(table):
        everywhere = [label for label in counts.index if counts.loc[label].sum() == len(table)]
        if len(everywhere) == len(counts):
            what = f"all {len(table)} usable clips have the labels {name_some(everywhere)}" if everywhere else "no clip"
            raise DataError(
                f"{what}{'' if everywhere else ' has a label'}; a classifier needs a label that some clips have and "
                "others do not."
            )
        return
    if len(counts) < 2:
        raise DataError(
            f"all {len(table)} usable clips are of the class {counts.index[0]!r}; a classifier needs two or more."
        )


def ledger_of(experiment: str, params: SplitParams, seed: int, workspace: Path) -> Path:
    """Return the path of an experiment's ledger, which runs with the same seed and fractions share.

    The folds of one cross-validation share it as well.
    """
    fractions = f"{params.folds} folds" if params.folds else params.test_share
    settings = f"{experiment}\x1f{fractions}\x1f{params.validation_fraction}\x1f{seed}"
    return workspace / "splits" / f"ledger-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.parquet"


def check_classes(table: pd.DataFrame, ledger: Path | None = None, dropped: pd.DataFrame | None = None) -> None:
    """Raise an error if training or testing would be meaningless; warn if a class is missing from a score.

    Args:
        table: The clips with their splits.
        ledger: The ledger that determined some of the splits, if any.
        dropped: The clips that were dropped as copies.

    Raises:
        DataError: There is only one class, a split is empty, or a class has no training clips or was dropped entirely.
    """
    clips = by_label(table)
    lost = [] if dropped is None else sorted(set(by_label(dropped)["label"]) - set(clips["label"]))
    if lost:
        raise DataError(
            f"{counted(len(lost), 'class loses all its', 'classes lose all their')} clips, as copies are dropped: "
            f"{name_some(lost)}. Remove the copies with the wrong label, or drop the classes."
        )
    counts = pd.crosstab(clips["label"], clips["split"]).reindex(columns=list(SPLITS), fill_value=0)
    _check_contrast(table, counts)
    empty = [name for name in SPLITS if not (table["split"] == name).any()]
    if empty:
        raise DataError(
            f"the split has no {' and no '.join(empty)} clips: there are {len(table)} clips in "
            f"{counted(table['group'].nunique(), 'group')}. "
            "A given split needs training clips, and a generated one at least three groups."
            + (
                ""
                if ledger is None
                else f" Groups that an earlier run split stay where they were ({ledger}). For a part of that corpus, "
                "or another corpus, use another `experiment`."
            )
        )
    unseen = counts.index[counts["train"] == 0]
    if len(unseen):
        raise DataError(
            f"{counted(len(unseen), 'class has', 'classes have')} no training clips: {name_some(unseen)}. "
            "Add clips of other groups, or drop the classes."
        )
    for name in ("validation", "test"):
        absent = counts.index[counts[name] == 0]
        if len(absent):
            classes = counted(
                len(absent),
                f"class has no {name} clips and is not scored",
                f"classes have no {name} clips and are not scored",
            )
            logger.warning("%s: %s", classes, name_some(absent))
