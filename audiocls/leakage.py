"""The leakage firewall: no group, and no sound of a recording, on both sides of a split, whoever made it."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from audiocls.columns import SPLITS
from audiocls.errors import LeakageError, name_some

logger = logging.getLogger(__name__)


def linked_groups(table: pd.DataFrame) -> pd.Series:
    """Name, for each clip, what must stay in one split: its group, with all groups that share sound with it.

    Args:
        table: Clips with `group` and `audio_sha256`, the hash of the decoded samples; and, where there are segments of
            recordings, what `overlaps` needs.

    Returns:
        With the index of `table`: the name of the group that comes first among those linked.
    """
    groups, names = pd.factorize(table["group"], sort=True)
    copies, _ = pd.factorize(table["audio_sha256"])
    stretches = overlaps(table).to_numpy()
    size = len(names) + len(table)
    ends = np.concatenate([len(names) + copies, size + stretches])
    shape = (size + len(table), size + len(table))
    edges = scipy.sparse.coo_matrix((np.ones(len(ends)), (np.tile(groups, 2), ends)), shape=shape)
    _, component = connected_components(edges, directed=False)
    first = pd.Series(names).groupby(component[: len(names)]).first()
    return pd.Series(first.loc[component[groups]].to_numpy(), index=table.index)


def overlaps(table: pd.DataFrame) -> pd.Series:
    """Number the stretches of sound: clips of one recording that overlap, or that others between them link, share one.

    Args:
        table: Clips with `recording_sha256`, `start_sample` and `num_samples`. Without these columns there are no
            segments, and clips share a stretch where they share `audio_sha256`.

    Returns:
        With the index of `table`.
    """
    if "recording_sha256" not in table:
        return pd.Series(pd.factorize(table["audio_sha256"])[0], index=table.index)
    rows = table[["recording_sha256", "start_sample", "num_samples"]].reset_index(drop=True)
    rows = rows.sort_values(["recording_sha256", "start_sample"], kind="stable")
    reach = (rows["start_sample"] + rows["num_samples"]).groupby(rows["recording_sha256"]).cummax().shift()
    another = rows["recording_sha256"] != rows["recording_sha256"].shift()
    number = (another | (rows["start_sample"] >= reach)).cumsum() - 1
    return pd.Series(number.sort_index().to_numpy(), index=table.index)


def check_disjoint(table: pd.DataFrame) -> None:
    """Stop where a group stands in more than one split, whoever made the split.

    Raises:
        LeakageError: Names the first ten such groups and how many of their clips are where.
    """
    clips = table.groupby(["group", "split"]).size().unstack(fill_value=0)
    straddling = clips[(clips > 0).sum(axis=1) > 1]
    if not straddling.empty:
        names = name_some(
            f"{group!r} ({', '.join(f'{count} in {split}' for split, count in counts.items() if count)})"
            for group, counts in straddling.iterrows()
        )
        raise LeakageError(
            f"{len(straddling)} of {len(clips)} groups stand in more than one split, so that the test would be on "
            f"what was trained on: {names}. Correct the split column, or leave data.split_column out to have one made."
        )


def check_copies(table: pd.DataFrame) -> None:
    """Stop where the same decoded audio, or a part of it, stands in more than one split, under whatever names.

    Raises:
        LeakageError: Names the first ten recordings with their clips.
    """
    splits = table.groupby("audio_sha256")["split"].nunique()
    copied = table[table["audio_sha256"].isin(splits.index[splits > 1])]
    if not copied.empty:
        sets = copied.groupby("audio_sha256", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.split})" for row in clips.itertuples()) for _, clips in sets)
        raise LeakageError(
            f"{sets.ngroups} recordings stand in more than one split under several names: {names}. Remove the copies, "
            "or set split.duplicates=move, which takes them, and the groups that they link, into training."
        )
    _check_overlaps(table)


def _check_overlaps(table: pd.DataFrame) -> None:
    stretches = overlaps(table)
    splits = table["split"].groupby(stretches).nunique()
    shared = table[stretches.isin(splits.index[splits > 1])]
    if not shared.empty:
        sets = shared.groupby(stretches[shared.index], sort=False)
        names = name_some(" + ".join(f"{row.clip_id} ({row.split})" for row in clips.itertuples()) for _, clips in sets)
        raise LeakageError(
            f"{sets.ngroups} stretches of recordings stand in more than one split, as clips overlap: {names}. Give "
            "clips that overlap one group, or set split.duplicates=move, which takes them, and the groups that they "
            "link, into training."
        )


def move_copies(table: pd.DataFrame) -> pd.Series:
    """Put groups that share sound across splits into one: training if any is there, else validation.

    Returns:
        The new split of each clip. Held-out clips are lost to training and never the other way, so that the test stays
        one on what was not trained on.
    """
    units = linked_groups(table)
    rank = table["split"].map(SPLITS.index)
    moved = rank.groupby(units).transform("min").map(dict(enumerate(SPLITS)))
    if (moved != table["split"]).any():
        clips = table.loc[moved != table["split"], "clip_id"]
        logger.warning(
            "%d clips were moved, as copies or overlaps link their groups to another split: %s",
            len(clips),
            name_some(clips),
        )
    return moved


def report_label_conflicts(table: pd.DataFrame) -> None:
    """Warn of recordings that stand under several labels: at most one of them is right."""
    labels = table.groupby("audio_sha256")["label"].nunique()
    odd = table[table["audio_sha256"].isin(labels.index[labels > 1])]
    if not odd.empty:
        sets = odd.groupby("audio_sha256", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.label})" for row in clips.itertuples()) for _, clips in sets)
        logger.warning("%d recordings have several labels: %s", sets.ngroups, names)
