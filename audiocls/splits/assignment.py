"""Which clip is in which split: given by the source, or made so that no group straddles."""

from __future__ import annotations

import hashlib
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from audiocls.errors import DataError, name_some
from audiocls.files import write_table
from audiocls.params import SplitParams
from audiocls.sources import SPLITS
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
from audiocls.splits.stratification import split_groups
from audiocls.splits.units import hold, make_units, tell_wide

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

    Copies that stand in several splits stop it, or are left out or moved, as `params` say; see `copies.leave_out`. What
    is left out goes into a table beside the result: see `dropped`. In a split that is made copies never stop it.

    Args:
        clips: The clips table of a corpus.
        params: How much is held out, and what to do about copies across splits.
        seed: Draws the split.
        workspace: Gets the result.
        ledger: Remembers where each group and each sound is, so that none moves when others come or go; None remembers
            nothing. A given split goes before it.
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
        draft = _draft(table, params, seed, remembered, near)
        kept, dropped = _settle(table, draft, params, remembered, near)
        check_classes(kept, ledger if met and draft.pool.any() else None, dropped)
    rows = kept[["clip_id", "split"]].astype(str)
    digest = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    name = f"{clips.parent.name}-{digest.hexdigest()[:12]}"
    written = write_table(kept.reset_index(drop=True), workspace / "splits" / f"{name}.parquet")
    write_dropped(dropped, written)
    return written


@dataclass(frozen=True, slots=True)
class _Draft:
    """Splits before copies are looked at."""

    splits: pd.DataFrame  # a column a fold, or one alone
    column: int  # of this run
    pool: pd.Series  # whether a clip's split was made, and not given
    made: tuple[str, ...]  # what a clip of the pool may be in


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
        missing = [name for name, share in (("validation", validation), ("test", test)) if share]
        logger.warning(
            "The given split has no %s clips; they are made out of its training clips.", " and no ".join(missing)
        )
    pool = table[given == "train"]
    allowed = ("train", *(["validation"] if validation else []), *(["test"] if test else []))
    # A split that is given takes no group of the pool, whatever an earlier run made of it.
    met = recall(pool, remembered)
    units, fixed = hold(_units(pool, params, near), met[met.isin(allowed)])
    made = split_groups(units, pool["label"], test, validation, seed, fixed)
    return _Draft(given.mask(given == "train", made).to_frame(0), 0, given == "train", allowed)


def _units(pool: pd.DataFrame, params: SplitParams, near: pd.DataFrame | None) -> pd.Series:
    """Name what a split that is made keeps together, and tell where that is much."""
    linking = near if params.near_duplicates != "drop" else None
    units, wide = make_units(pool, linking, exact=params.duplicates != "drop")
    tell_wide(wide)
    return units


def _settle(
    table: pd.DataFrame, draft: _Draft, params: SplitParams, remembered: dict[str, str], near: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out or move copies, check the result, and remember it; return the clips kept and those left out."""
    used = draft.splits.astype(object)
    left_out = _leave_out_made(table, draft, remembered, near)
    for fold, rows in left_out.items():
        used.loc[rows.index, fold] = None
    table = table.assign(split=draft.splits[draft.column])
    kept, more = _resolve(table.drop(left_out[draft.column].index), params, near)
    final = kept["split"].reindex(table.index).astype(object)
    if draft.made != SPLITS:
        _tell_given(kept, remembered)
    used[draft.column] = final
    remember_groups(table, used.fillna(draft.splits), remembered)
    remember_sounds(table, used, remembered, near)
    rows = pd.concat([left_out[draft.column], more])
    return kept, table[["clip_id", "label", "group", "split"]].join(rows, how="inner")


def _leave_out_made(
    table: pd.DataFrame, draft: _Draft, remembered: dict[str, str], near: pd.DataFrame | None
) -> dict[int, pd.DataFrame]:
    """Return what `copies.leave_out` does, by fold, of the clips whose split was made; of others the params decide."""
    pool = table[draft.pool]
    known = KnownSound(pool, remembered)
    left_out = {}
    for fold in draft.splits:
        finders = {name: partial(known.find, split=name, fold=fold) for name in draft.made}
        left_out[fold] = leave_out(pool.assign(split=draft.splits.loc[pool.index, fold]), near, finders)
    return left_out


def _tell_given(table: pd.DataFrame, remembered: dict[str, str]) -> None:
    """Warn of clips that a given split puts elsewhere than an earlier run had them: it goes before the ledger."""
    known, sound = KnownSound(table, remembered), SharedSound(table)
    for name in SPLITS:
        elsewhere = table[(known.find(sound, name) >= 0) & (table["split"] != name)]
        if not elsewhere.empty:
            logger.warning(
                "%d clips, or parts of them, were in %s in an earlier run, and the given split has them elsewhere; "
                "models of both runs cannot be compared on them: %s",
                len(elsewhere),
                name,
                name_some(f"{row.clip_id} ({row.split})" for row in elsewhere.itertuples()),
            )


def _resolve(table: pd.DataFrame, params: SplitParams, near: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do what the params say about copies across splits; return the clips kept, and why others are not."""
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


def ledger_of(experiment: str, params: SplitParams, seed: int, workspace: Path) -> Path:
    """Name the ledger of an experiment: its runs share one for as long as the seed and the shares stay the same.

    The folds of one cross-validation share one as well.
    """
    shares = f"{params.folds} folds" if params.folds else params.test_share
    settings = f"{experiment}\x1f{shares}\x1f{params.validation_fraction}\x1f{seed}"
    return workspace / "splits" / f"ledger-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.parquet"


def check_classes(table: pd.DataFrame, ledger: Path | None = None, dropped: pd.DataFrame | None = None) -> None:
    """Stop where training or testing would mean nothing; warn where a class is left out of a score.

    Args:
        table: The clips with their splits.
        ledger: What some of them were put by, where it is one.
        dropped: The clips that were left out as copies.

    Raises:
        DataError: One class alone, an empty split, classes without training clips, or classes without any that are
            not left out.
    """
    lost = [] if dropped is None else sorted(set(dropped["label"]) - set(table["label"]))
    if lost:
        raise DataError(
            f"{len(lost)} classes lose all their clips, as copies are left out: {name_some(lost)}. Remove the copies "
            "where they stand under the wrong label, or drop the classes."
        )
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
