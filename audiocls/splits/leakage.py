"""The leakage firewall: no group, and no sound of a recording, on both sides of a split, whoever made it."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from audiocls.errors import LeakageError, name_some
from audiocls.sources import SPLITS
from audiocls.splits.copies import leave_out, same_sound
from audiocls.splits.copy_costs import change_of

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
    return link(table["group"], linking_sounds(table, near))


def linking_sounds(table: pd.DataFrame, near: pd.DataFrame | None = None, *, exact: bool = True) -> pd.Series:
    """Number the sounds that link groups: clips share one that are copies, overlap, or are near-duplicates.

    Args:
        table: As `linked_groups` takes it.
        near: As `linked_groups` takes them.
        exact: Whether copies and overlaps link; otherwise near-duplicates alone do.

    Returns:
        With the index of `table`. Sounds that share clips between them, directly or by way of others, are one.
    """
    sounds = same_sound(table, near)
    if not exact:
        paired = [] if near is None else [*near["audio_hash_a"], *near["audio_hash_b"]]
        alone = ~table["audio_hash"].isin(paired)
        return sounds.mask(alone, len(table) + pd.Series(np.arange(len(table)), index=table.index))
    return _components(sounds, overlaps(table))


def link(groups: pd.Series, sounds: pd.Series) -> pd.Series:
    """Name, for each clip, the group that comes first among those that sounds link to its own."""
    together = _components(groups, sounds)
    return together.map(groups.groupby(together).min())


def _components(first: pd.Series, second: pd.Series) -> pd.Series:
    """Number the sets of rows that have either value in common, directly or by way of others."""
    codes, names = pd.factorize(first)
    others, values = pd.factorize(second)
    size = len(names) + len(values)
    edges = scipy.sparse.coo_matrix((np.ones(len(codes)), (codes, len(names) + others)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return pd.Series(component[codes], index=first.index)


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
            f"or choose what it costs: {_choices('split.duplicates', table)}."
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
            f"clips that overlap one group, or choose what it costs: {_choices('split.duplicates', table)}."
        )


def check_near_duplicates(table: pd.DataFrame, near: pd.DataFrame) -> None:
    """Stop where near-duplicates stand in different splits.

    Args:
        table: Clips with their splits.
        near: Pairs as `near_duplicates.find_near_duplicates` says.

    Raises:
        LeakageError: Names the ten most similar pairs.
    """
    clips, pairs = table[["audio_hash", "clip_id", "split"]], near
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
            f"encoded anew, resampled, cut or padded: {names}. Listen to them. Remove the copies, or choose what it "
            f"costs: {_choices('split.near_duplicates', table, pairs)}. If they are no copies, set "
            "split.near_duplicates=ignore."
        )


def _choices(key: str, table: pd.DataFrame, near: pd.DataFrame | None = None) -> str:
    """Say what becomes of the splits under each choice for copies."""
    kept = table["split"].drop(leave_out(table, near).index).reindex(table.index)
    return (
        f"{key}=drop leaves out {change_of(table, kept)}; "
        f"{key}=move takes to one split, training before others, {change_of(table, moved_splits(table, near))}"
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
    moved = moved_splits(table, near)
    if (moved != table["split"]).any():
        clips = table.loc[moved != table["split"], "clip_id"]
        logger.warning(
            "%d clips were moved, as copies or overlaps link their groups to another split: %s",
            len(clips),
            name_some(clips),
        )
    return moved


def moved_splits(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Return what `move_copies` does, and say nothing."""
    units = linked_groups(table, near)
    rank = table["split"].map(SPLITS.index)
    return rank.groupby(units).transform("min").map(dict(enumerate(SPLITS)))


def report_label_conflicts(table: pd.DataFrame) -> None:
    """Warn of recordings that stand under several labels: at most one of them is right."""
    labels = table.groupby("audio_hash")["label"].nunique()
    odd = table[table["audio_hash"].isin(labels.index[labels > 1])]
    if not odd.empty:
        sets = odd.groupby("audio_hash", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.label})" for row in clips.itertuples()) for _, clips in sets)
        logger.warning("%d recordings have several labels: %s", sets.ngroups, names)
