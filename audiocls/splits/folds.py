"""Cross-validation: every clip is tested in exactly one of k folds, and linked groups stay in one fold."""

from __future__ import annotations

import pandas as pd

from audiocls.errors import DataError, counted
from audiocls.splits.leakage import linked_groups
from audiocls.splits.ledger import BETWEEN, recall, remember_groups
from audiocls.splits.stratification import fold_groups, labels_to_stratify, split_groups
from audiocls.splits.units import hold


def split_folds(
    table: pd.DataFrame,
    folds: int,
    validation: float,
    seed: int,
    remembered: dict[str, str] | None = None,
    units: pd.Series | None = None,
) -> pd.DataFrame:
    """Split clips once for each fold.

    Fold i tests on the groups of fold i. Its validation split is drawn from the other groups, separately in each fold.

    Args:
        table: Clips with `group`, `label`, `audio_hash` and an empty `split`.
        folds: Number of folds, two or more.
        validation: Fraction of the clips outside the test fold to use for validation, in (0, 1).
        seed: Random seed of the folds and the validation clips.
        remembered: The splits of each group assigned earlier, such as "train test validation" for three folds. These
            groups stay where they are, and new ones are added. If a new copy links groups of several folds, each group
            stays in its own, and `copies.leave_out` returns which copies to drop from a fold.
        units: What must stay in one fold, by clip; None uses `leakage.linked_groups`.

    Returns:
        "train", "validation" or "test", with the index of `table` and a column for each fold, 0 to folds - 1.

    Raises:
        DataError: The source gives a split, or there are fewer groups than folds.
    """
    remembered = {} if remembered is None else remembered
    units = linked_groups(table) if units is None else units
    _check(table, units, folds)
    units, entries = hold(units, recall(table, remembered))
    words = {unit: entry.split(BETWEEN) for unit, entry in entries.items()}
    tested = {unit: each.index("test") for unit, each in words.items() if "test" in each}
    fold = fold_groups(units, labels_to_stratify(table), folds, seed, tested)
    made = pd.DataFrame(
        {
            i: _split_rest(
                table, units, fold == i, validation, seed + i, {unit: each[i] for unit, each in words.items()}
            )
            for i in range(folds)
        }
    )
    remember_groups(table, made, remembered)
    return made


def _check(table: pd.DataFrame, units: pd.Series, folds: int) -> None:
    if table["split"].notna().any():
        raise DataError(
            f"split.folds = {folds}, but the source gives the split of {counted(table['split'].notna().sum(), 'clip')}"
            ". Remove one of the two."
        )
    if units.nunique() < folds:
        raise DataError(
            f"split.folds = {folds}, but the {len(table)} clips are in {counted(units.nunique(), 'group')} that share "
            "no recording; each fold needs a group."
        )


def _split_rest(
    table: pd.DataFrame, units: pd.Series, tested: pd.Series, validation: float, seed: int, fixed: dict[str, str]
) -> pd.Series:
    """Use `tested` as the test split, and split the rest; the units of `fixed` stay where they were."""
    rest = ~tested
    made = split_groups(units[rest], labels_to_stratify(table[rest]), 0.0, validation, seed, fixed)
    return made.reindex(table.index, fill_value="test")
