"""Cross-validation: every clip is tested in exactly one of k folds, and no group, or group linked to it, straddles."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from audiocls.errors import DataError
from audiocls.leakage import linked_groups
from audiocls.ledger import recall, remember
from audiocls.manifest import SPLITS
from audiocls.stratification import fold_groups, split_groups

_BETWEEN: Final = " "


def split_folds(
    table: pd.DataFrame,
    folds: int,
    validation: float,
    seed: int,
    remembered: dict[str, str] | None = None,
    near: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Split clips once for each fold, all folds at once.

    Fold i tests on the groups of fold i; validation is made out of the others, group by group, anew in each fold.

    Args:
        table: Clips with `group`, `label`, `audio_hash` and an empty `split`.
        folds: Number of folds, two or more.
        validation: Share of the clips that are not tested on, in (0, 1).
        seed: Draws the folds and the validation clips.
        remembered: The splits of each group met before, "train test validation" for three folds; these groups stay
            where they are, and the new ones are added. Where a new copy links groups of several folds, all of them go
            to the first.
        near: Pairs of near-duplicates that count as one recording.

    Returns:
        "train", "validation" or "test", with the index of `table` and a column for each fold, 0 to folds - 1.

    Raises:
        DataError: The source gives a split, or there are fewer groups than folds.
    """
    remembered = {} if remembered is None else remembered
    units = linked_groups(table, near)
    _check(table, units, folds)
    earlier = _earlier(table, units, remembered, folds)
    tested = earlier.eq("test").idxmax(axis=1).groupby(level=0).min()
    fold = fold_groups(units, table["label"], folds, seed, tested.to_dict())
    made = pd.DataFrame(
        {i: _split_rest(table, units, fold == i, validation, seed + i, earlier[i]) for i in range(folds)}
    )
    splits = made[0].str.cat([made[i] for i in range(1, folds)], sep=_BETWEEN)
    remember(table, splits, remembered)
    return made


def _check(table: pd.DataFrame, units: pd.Series, folds: int) -> None:
    if table["split"].notna().any():
        raise DataError(
            f"split.folds = {folds}, and the source gives the split of {table['split'].notna().sum()} clips. "
            "Leave out one of the two."
        )
    if units.nunique() < folds:
        raise DataError(
            f"split.folds = {folds}, and the {len(table)} clips are in {units.nunique()} groups that share no "
            "recording; there must be a group for each fold."
        )


def _earlier(table: pd.DataFrame, units: pd.Series, remembered: dict[str, str], folds: int) -> pd.DataFrame:
    """Return what is remembered, a row a clip and a column a fold, by the unit that the clip is in now."""
    met = recall(table, remembered)
    rows = [splits.split(_BETWEEN) for splits in met]
    return pd.DataFrame(np.array(rows, dtype=object).reshape(-1, folds), index=units[met.index].to_numpy())


def _split_rest(
    table: pd.DataFrame, units: pd.Series, tested: pd.Series, validation: float, seed: int, earlier: pd.Series
) -> pd.Series:
    """Test on `tested`; split the rest, with the units of `earlier` where they were."""
    rest = ~tested
    # Of linked groups training takes all, as it does without folds; what was tested here and no longer is, is new.
    kept = earlier[earlier.ne("test")].map(SPLITS.index).groupby(level=0).min()
    fixed = {str(unit): SPLITS[rank] for unit, rank in kept.items()}
    made = split_groups(units[rest], table.loc[rest, "label"], 0.0, validation, seed, fixed)
    return made.reindex(table.index, fill_value="test")
