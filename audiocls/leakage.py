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


def linked_groups(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Name, for each clip, what must stay in one split: its group, with all groups that share sound with it.

    Args:
        table: Clips with `group` and `audio_hash`, the hash of the decoded samples; and, where there are segments of
            recordings, what `overlaps` needs.
        near: Pairs of near-duplicates, `audio_hash_a` and `audio_hash_b`, which count as one recording.

    Returns:
        With the index of `table`: the name of the group that comes first among those linked.
    """
    groups, names = pd.factorize(table["group"], sort=True)
    copies, hashes = pd.factorize(table["audio_hash"])
    stretches = overlaps(table).to_numpy()
    first_copy, first_stretch = len(names), len(names) + len(hashes)
    ends = [np.stack([groups, first_copy + copies]), np.stack([groups, first_stretch + stretches])]
    if near is not None:
        pairs = np.stack([pd.Index(hashes).get_indexer(near[f"audio_hash_{side}"]) for side in "ab"])
        ends.append(first_copy + pairs[:, (pairs >= 0).all(axis=0)])
    rows, columns = np.concatenate(ends, axis=1)
    size = first_stretch + len(table)
    edges = scipy.sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    first = pd.Series(names).groupby(component[: len(names)]).first()
    return pd.Series(first.loc[component[groups]].to_numpy(), index=table.index)


def overlaps(table: pd.DataFrame) -> pd.Series:
    """Number the stretches of sound: clips of one recording that overlap, or that others between them link, share one.

    Args:
        table: Clips with `recording_hash`, `start_sample` and `num_samples`. Without these columns there are no
            segments, and clips share a stretch where they share `audio_hash`.

    Returns:
        With the index of `table`.
    """
    if "recording_hash" not in table:
        return pd.Series(pd.factorize(table["audio_hash"])[0], index=table.index)
    rows = table[["recording_hash", "start_sample", "num_samples"]].reset_index(drop=True)
    rows = rows.sort_values(["recording_hash", "start_sample"], kind="stable")
    reach = (rows["start_sample"] + rows["num_samples"]).groupby(rows["recording_hash"]).cummax().shift()
    another = rows["recording_hash"] != rows["recording_hash"].shift()
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
    splits = table.groupby("audio_hash")["split"].nunique()
    copied = table[table["audio_hash"].isin(splits.index[splits > 1])]
    if not copied.empty:
        sets = copied.groupby("audio_hash", sort=False)
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


def check_near_duplicates(table: pd.DataFrame, near: pd.DataFrame) -> None:
    """Stop where near-duplicates stand in different splits.

    Args:
        table: Clips with their splits.
        near: Pairs as `near_duplicates.find_near_duplicates` says.

    Raises:
        LeakageError: Names the ten most similar pairs.
    """
    clips = table[["audio_hash", "clip_id", "split"]]
    for side in "ab":
        near = near.merge(clips.add_suffix(f"_{side}"), on=f"audio_hash_{side}")
    apart = near[near["split_a"] != near["split_b"]].sort_values("similarity", ascending=False)
    if not apart.empty:
        names = name_some(
            f"{row.clip_id_a} ({row.split_a}) ~ {row.clip_id_b} ({row.split_b}), similarity {row.similarity:.2f}"
            for row in apart.itertuples()
        )
        raise LeakageError(
            f"{len(apart)} pairs of clips in different splits are near-duplicates, which seem to be one recording "
            f"encoded anew, resampled, cut or padded: {names}. Listen to them. Remove the copies, or set "
            "split.near_duplicates=move, which takes them, and the groups that they link, into training; if they are "
            "no copies, set split.near_duplicates=ignore."
        )


def move_copies(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Put groups that share sound across splits into one: training if any is there, else validation.

    Args:
        table: Clips with their splits.
        near: Pairs of near-duplicates that count as one recording.

    Returns:
        The new split of each clip. Held-out clips are lost to training and never the other way, so that the test stays
        one on what was not trained on.
    """
    units = linked_groups(table, near)
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
    labels = table.groupby("audio_hash")["label"].nunique()
    odd = table[table["audio_hash"].isin(labels.index[labels > 1])]
    if not odd.empty:
        sets = odd.groupby("audio_hash", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.label})" for row in clips.itertuples()) for _, clips in sets)
        logger.warning("%d recordings have several labels: %s", sets.ngroups, names)
