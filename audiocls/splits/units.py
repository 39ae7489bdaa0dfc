"""Units: groups that a generated split keeps together because copies of recordings link them.

A copy shared by two groups makes them one unit, so that no copy has to be dropped. But a jingle in every group would
turn the whole corpus into one unit and leave nothing to test on. A unit of more than a tenth of the corpus is therefore
reduced to groups that are mostly copies of each other. The few copies that link the other groups are dropped wherever
they would be in two splits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from audiocls.audit import Finding
from audiocls.errors import counted, name_some
from audiocls.splits.leakage import link, linking_sounds
from audiocls.splits.ledger import most_frequent

logger = logging.getLogger(__name__)

WIDE: Final = 0.1
"""A unit of linked groups is wide if it holds more than this fraction of the corpus."""

_MOSTLY_SHARED: Final = 0.5  # of the smaller group's clips: the groups are then mostly copies of each other
# A sound in more groups is a jingle; groups that are mostly copies of each other share other sounds too.
_MOST_HOLDERS: Final = 20


@dataclass(frozen=True, slots=True)
class WideUnit:
    """Groups that copies link and that together hold more than WIDE of the corpus."""

    clips: int
    groups: list[str]
    links: list[str]  # ids of the clips that link them
    apart: bool  # whether a generated split separates some of its groups

    def __str__(self) -> str:
        what = "some of which a generated split separates" if self.apart else "which are copies of each other"
        return (
            f"copies link {len(self.groups)} groups with {counted(self.clips, 'clip')} ({name_some(self.groups, 5)}), "
            f"{what}; {counted(len(self.links), 'clip links', 'clips link')} them: {name_some(self.links)}"
        )


def make_units(
    table: pd.DataFrame, near: pd.DataFrame | None = None, *, exact: bool = True
) -> tuple[pd.Series, list[WideUnit]]:
    """Return for each clip the unit that a generated split keeps together, and the wide units.

    Args:
        table: Clips with `clip_id`, `group`, `audio_hash`; segments also need the columns of `leakage.overlaps`.
        near: Pairs of near-duplicates that link groups.
        exact: Whether exact copies and overlaps link groups.

    Returns:
        With the index of `table`: the alphabetically first name of the groups kept together.
    """
    sounds = linking_sounds(table, near, exact=exact)
    units = link(table["group"], sounds)
    sizes = table.groupby(units).agg(clips=("group", "size"), groups=("group", "nunique"))
    wide = sizes.index[(sizes["clips"] > WIDE * len(table)) & (sizes["groups"] > 1)]
    found = []
    for name in wide:
        rows = table[units == name]
        there = sounds[rows.index]
        kept = _link_mostly_shared(rows["group"], there)
        links = rows["clip_id"][rows["group"].groupby(there).transform("nunique") > 1]
        found.append(WideUnit(len(rows), sorted(rows["group"].unique()), sorted(links), bool(kept.nunique() > 1)))
        units[rows.index] = kept
    return units, found


def _link_mostly_shared(groups: pd.Series, sounds: pd.Series) -> pd.Series:
    """Link two groups only if the smaller shares at least _MOSTLY_SHARED of its clips with the other."""
    codes, names = pd.factorize(groups, sort=True)
    held = pd.DataFrame({"group": codes, "sound": pd.factorize(sounds)[0], "clips": 1})
    held = held.groupby(["group", "sound"], as_index=False)["clips"].sum()
    holders = held.groupby("sound")["group"].transform("size")
    held = held[(holders > 1) & (holders <= _MOST_HOLDERS)]
    pairs = held.merge(held, on="sound", suffixes=("", "_other")).query("group != group_other")
    shared = pairs.groupby(["group", "group_other"], as_index=False)["clips"].sum()
    sizes = np.bincount(codes)
    linked = shared[shared["clips"] >= _MOSTLY_SHARED * sizes[shared["group"]]]
    ends = (np.ones(len(linked)), (linked["group"], linked["group_other"]))
    edges = scipy.sparse.coo_matrix(ends, shape=(len(names), len(names)))
    _, component = connected_components(edges, directed=False)
    first = pd.Series(names).groupby(component).first()
    return pd.Series(first.loc[component[codes]].to_numpy(), index=groups.index)


def hold(units: pd.Series, recalled: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """Keep groups that were assigned earlier where they were.

    If a new copy links groups in different splits, each group stays in its own: the unit is divided, and its new groups
    join the split that most of its clips are in.

    Args:
        units: The unit of each clip, as `make_units` returns it.
        recalled: The entries of clips in groups that were assigned earlier, as `ledger.recall` returns them.

    Returns:
        The units, and the entry of each that was assigned earlier.
    """
    entries = recalled.reindex(units.index).fillna(units.map(most_frequent(recalled, units)))
    different = recalled.groupby(units[recalled.index]).nunique()
    cut = units.isin(different.index[different > 1])
    held = units.astype(object)
    held[cut] = [f"{unit}\x1f{entry}" for unit, entry in zip(units[cut], entries[cut], strict=True)]
    known = entries.notna()
    return held, dict(zip(held[known], entries[known], strict=True))


def warn_wide(units: list[WideUnit]) -> None:
    """Warn about units that hold too much of the corpus for a generated split to place well."""
    for unit in units:
        logger.warning(
            "%s. %s",
            unit,
            "Copies that are then in two splits are dropped and listed with a reason."
            if unit.apart
            else "The split keeps them together. split.duplicates=drop and split.near_duplicates=drop would keep no "
            "groups together, and drop copies that are in two splits.",
        )


def wide_unit_findings(clips: Path, near_duplicates: Path) -> Iterator[Finding]:
    """Yield a finding for each wide unit.

    Args:
        clips: The usable clips of a corpus.
        near_duplicates: Table of the near-duplicate pairs that were found in it.
    """
    for unit in make_units(pd.read_parquet(clips), pd.read_parquet(near_duplicates))[1]:
        yield Finding(
            "warning",
            f"Copies link {len(unit.groups)} groups with {unit.clips} clips, more than a tenth of the corpus",
            f"{unit}. A split that keeps them together has little left to test on. "
            + (
                "A generated split therefore drops copies that would be in two splits. "
                if unit.apart
                else "split.duplicates=drop and split.near_duplicates=drop keep no groups together, and drop "
                "copies that are in two splits. "
            ),
        )
