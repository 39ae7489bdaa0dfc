"""Which groups a split that is made keeps together, as copies of recordings link them, and which it does not.

A copy shared by two groups makes them one unit, so that none has to be left out. But a jingle that stands in every
group would make one unit of the corpus, and leave nothing to test on. So a unit of more than a tenth of the corpus is
kept only as far as its groups are copies of each other in the main; the few copies that would chain the others together
are left out of a split instead, wherever they would straddle.
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
from audiocls.errors import name_some
from audiocls.splits.leakage import link, linking_sounds
from audiocls.splits.ledger import most_frequent

logger = logging.getLogger(__name__)

WIDE: Final = 0.1
"""A unit of groups that copies link is wide where it would hold more than this fraction of the corpus."""

_THICK: Final = 0.5  # of the smaller group's clips: two such groups are one in the main
# A sound of more groups is a jingle, and two groups that are one in the main share others.
_MOST_HOLDERS: Final = 20


@dataclass(frozen=True, slots=True)
class WideUnit:
    """Groups that copies link, and that would hold more than WIDE of the corpus together."""

    clips: int
    groups: list[str]
    links: list[str]  # ids of the clips that link them
    apart: bool  # whether groups of it are kept apart when a split is made

    def __str__(self) -> str:
        what = "of which a split that is made keeps some apart" if self.apart else "which are copies of each other"
        return (
            f"copies link {len(self.groups)} groups with {self.clips} clips ({name_some(self.groups, 5)}), {what}; "
            f"{len(self.links)} clips link them: {name_some(self.links)}"
        )


def make_units(
    table: pd.DataFrame, near: pd.DataFrame | None = None, *, exact: bool = True
) -> tuple[pd.Series, list[WideUnit]]:
    """Name, for each clip, what a split that is made keeps together, and list the wide units.

    Args:
        table: Clips with `clip_id`, `group`, `audio_hash`, and of segments what `leakage.overlaps` needs.
        near: Pairs of near-duplicates that link groups.
        exact: Whether exact copies and overlaps link them.

    Returns:
        With the index of `table`: the name of the group that comes first among those kept together.
    """
    sounds = linking_sounds(table, near, exact=exact)
    units = link(table["group"], sounds)
    sizes = table.groupby(units).agg(clips=("group", "size"), groups=("group", "nunique"))
    wide = sizes.index[(sizes["clips"] > WIDE * len(table)) & (sizes["groups"] > 1)]
    found = []
    for name in wide:
        rows = table[units == name]
        there = sounds[rows.index]
        kept = _in_the_main(rows["group"], there)
        links = rows["clip_id"][rows["group"].groupby(there).transform("nunique") > 1]
        found.append(WideUnit(len(rows), sorted(rows["group"].unique()), sorted(links), bool(kept.nunique() > 1)))
        units[rows.index] = kept
    return units, found


def _in_the_main(groups: pd.Series, sounds: pd.Series) -> pd.Series:
    """Link only groups of which the smaller shares at least _THICK of its clips with the other."""
    codes, names = pd.factorize(groups, sort=True)
    held = pd.DataFrame({"group": codes, "sound": pd.factorize(sounds)[0], "clips": 1})
    held = held.groupby(["group", "sound"], as_index=False)["clips"].sum()
    holders = held.groupby("sound")["group"].transform("size")
    held = held[(holders > 1) & (holders <= _MOST_HOLDERS)]
    pairs = held.merge(held, on="sound", suffixes=("", "_other")).query("group != group_other")
    shared = pairs.groupby(["group", "group_other"], as_index=False)["clips"].sum()
    sizes = np.bincount(codes)
    thick = shared[shared["clips"] >= _THICK * sizes[shared["group"]]]
    ends = (np.ones(len(thick)), (thick["group"], thick["group_other"]))
    edges = scipy.sparse.coo_matrix(ends, shape=(len(names), len(names)))
    _, component = connected_components(edges, directed=False)
    first = pd.Series(names).groupby(component).first()
    return pd.Series(first.loc[component[codes]].to_numpy(), index=groups.index)


def hold(units: pd.Series, met: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """Keep groups that were met before where they were.

    Where a copy that is new links groups that are in different splits, each stays in its own: the unit is cut, and what
    is new in it joins where most of its clips are.

    Args:
        units: What is kept together, as `make_units` returns it.
        met: The entries of the clips of groups that were met before, as `ledger.recall` returns them.

    Returns:
        The units, and the entry of each that was met before.
    """
    entries = met.reindex(units.index).fillna(units.map(most_frequent(met, units)))
    different = met.groupby(units[met.index]).nunique()
    cut = units.isin(different.index[different > 1])
    held = units.astype(object)
    held[cut] = [f"{unit}\x1f{entry}" for unit, entry in zip(units[cut], entries[cut], strict=True)]
    known = entries.notna()
    return held, dict(zip(held[known], entries[known], strict=True))


def tell_wide(units: list[WideUnit]) -> None:
    """Warn of units that hold more of the corpus than a split that is made can place well."""
    for unit in units:
        logger.warning(
            "%s. %s",
            unit,
            "Copies that then straddle are left out, as rows with a reason."
            if unit.apart
            else "The split keeps them together; split.duplicates=drop and split.near_duplicates=drop would keep no "
            "groups together, and leave copies that straddle out.",
        )


def wide_unit_findings(clips: Path, near_duplicates: Path) -> Iterator[Finding]:
    """Yield what copies that chain many groups together mean for a split that is made.

    Args:
        clips: The usable clips of a corpus.
        near_duplicates: Pairs of recordings that were found in it.
    """
    for unit in make_units(pd.read_parquet(clips), pd.read_parquet(near_duplicates))[1]:
        yield Finding(
            "warning",
            f"Copies link {len(unit.groups)} groups with {unit.clips} clips, more than a tenth of the corpus",
            f"{unit}. A split that keeps them together has little left to test on. "
            + (
                "So one that is made leaves such copies out where they straddle. "
                if unit.apart
                else "split.duplicates=drop and split.near_duplicates=drop keep no groups together, and leave out the "
                "copies that straddle. "
            ),
        )
