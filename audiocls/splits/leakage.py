"""The leakage firewall: no group and no recording may be in two splits, given or generated."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from audiocls.errors import LeakageError, counted, name_some
from audiocls.sources import SPLITS
from audiocls.splits.copies import leave_out, same_sound
from audiocls.splits.copy_costs import change_of

logger = logging.getLogger(__name__)


def linked_groups(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Return for each clip the unit that must stay in one split: its group with all groups that share sound with it.

    Args:
        table: Clips with `group` and `audio_hash`, the hash of the decoded samples; segments also need the columns
            of `overlaps`.
        near: Pairs of near-duplicates, `audio_hash_a` and `audio_hash_b`, which count as one recording.

    Returns:
        With the index of `table`: the alphabetically first name of the linked groups.
    """
    return link(table["group"], linking_sounds(table, near))


def linking_sounds(table: pd.DataFrame, near: pd.DataFrame | None = None, *, exact: bool = True) -> pd.Series:
    """Number the sounds that link groups; copies, overlapping clips and near-duplicates share a number.

    Args:
        table: As in `linked_groups`.
        near: As in `linked_groups`.
        exact: Whether copies and overlaps link groups; if False, only near-duplicates do.

    Returns:
        With the index of `table`. Sounds that share clips, directly or through others, have one number.
    """
    sounds = same_sound(table, near)
    if not exact:
        paired = [] if near is None else [*near["audio_hash_a"], *near["audio_hash_b"]]
        alone = ~table["audio_hash"].isin(paired)
        return sounds.mask(alone, len(table) + pd.Series(np.arange(len(table)), index=table.index))
    return _components(sounds, overlaps(table))


def link(groups: pd.Series, sounds: pd.Series) -> pd.Series:
    """Return for each clip the alphabetically first of the groups that sounds link to its own."""
    together = _components(groups, sounds)
    return together.map(groups.groupby(together).min())


def _components(first: pd.Series, second: pd.Series) -> pd.Series:
    """Number the sets of rows that have either value in common, directly or through others."""
    codes, names = pd.factorize(first)
    others, values = pd.factorize(second)
    size = len(names) + len(values)
    edges = scipy.sparse.coo_matrix((np.ones(len(codes)), (codes, len(names) + others)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return pd.Series(component[codes], index=first.index)


def overlaps(table: pd.DataFrame) -> pd.Series:
    """Number the stretches of sound; clips of one recording that overlap, directly or through others, share a number.

    Args:
        table: Clips with `recording_hash`, `start_sample` and `num_samples`. Without these columns there are no
            segments, and clips with the same `audio_hash` share a stretch.

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
    """Raise an error if a group is in more than one split, given or generated.

    Raises:
        LeakageError: The message names the first ten such groups and the number of their clips per split.
    """
    clips = table.groupby(["group", "split"]).size().unstack(fill_value=0)
    straddling = clips[(clips > 0).sum(axis=1) > 1]
    if not straddling.empty:
        names = name_some(
            f"{group!r} ({', '.join(f'{count} in {split}' for split, count in counts.items() if count)})"
            for group, counts in straddling.iterrows()
        )
        raise LeakageError(
            f"{len(straddling)} of {counted(len(clips), 'group')} are in more than one split, so the model would be "
            f"tested on training data: {names}. Correct the split column, or remove data.split_column to have a split "
            "generated."
        )


def check_copies(table: pd.DataFrame) -> None:
    """Raise an error if the same decoded audio, or a part of it, is in more than one split under any names.

    Raises:
        LeakageError: The message names the first ten recordings with their clips.
    """
    splits = table.groupby("audio_hash")["split"].nunique()
    copied = table[table["audio_hash"].isin(splits.index[splits > 1])]
    if not copied.empty:
        sets = copied.groupby("audio_hash", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.split})" for row in clips.itertuples()) for _, clips in sets)
        raise LeakageError(
            f"{counted(sets.ngroups, 'recording is', 'recordings are')} in more than one split under several names: "
            f"{names}. Remove the copies, "
            f"or choose how to handle them: {_choices('split.duplicates', table)}."
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
            f"{counted(sets.ngroups, 'stretch of a recording is', 'stretches of recordings are')} in more than one "
            f"split, as clips overlap: {names}. Put "
            f"overlapping clips into one group, or choose how to handle them: {_choices('split.duplicates', table)}."
        )


def check_near_duplicates(table: pd.DataFrame, near: pd.DataFrame) -> None:
    """Raise an error if near-duplicates are in different splits.

    Args:
        table: Clips with their splits.
        near: Pairs as returned by `near_duplicates.find_near_duplicates`.

    Raises:
        LeakageError: The message names the ten most similar pairs.
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
            f"{counted(len(apart), 'pair')} of clips in different splits are near-duplicates, which seem to be one "
            f"recording that was re-encoded, resampled, cut or padded: {names}. Listen to them. Remove the copies, or "
            f"choose how to handle them: {_choices('split.near_duplicates', table, pairs)}. If they are not copies, "
            "set split.near_duplicates=ignore."
        )


def _choices(key: str, table: pd.DataFrame, near: pd.DataFrame | None = None) -> str:
    """Format what each choice for copies does to the splits."""
    kept = table["split"].drop(leave_out(table, near).index).reindex(table.index)
    return (
        f"{key}=drop drops {change_of(table, kept)}; "
        f"{key}=move moves to one split, preferably training, {change_of(table, moved_splits(table, near))}"
    )


def move_copies(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Move groups that share sound across splits into one split: training if any is there, else validation.

    Args:
        table: Clips with their splits.
        near: Pairs of near-duplicates that count as one recording.

    Returns:
        The new split of each clip. Clips never move from training to a held-out split, so the model is still tested on
        unseen clips.
    """
    moved = moved_splits(table, near)
    if (moved != table["split"]).any():
        clips = table.loc[moved != table["split"], "clip_id"]
        logger.warning(
            "%s moved because copies or overlaps link their groups to another split: %s",
            counted(len(clips), "clip was", "clips were"),
            name_some(clips),
        )
    return moved


def moved_splits(table: pd.DataFrame, near: pd.DataFrame | None = None) -> pd.Series:
    """Return the result of `move_copies` without logging."""
    units = linked_groups(table, near)
    rank = table["split"].map(SPLITS.index)
    return rank.groupby(units).transform("min").map(dict(enumerate(SPLITS)))


def report_label_conflicts(table: pd.DataFrame) -> None:
    """Warn about recordings whose copies have different labels, of which at most one is correct."""
    labels = table.groupby("audio_hash")["label"].nunique()
    odd = table[table["audio_hash"].isin(labels.index[labels > 1])]
    if not odd.empty:
        sets = odd.groupby("audio_hash", sort=False)
        names = name_some(" = ".join(f"{row.clip_id} ({row.label})" for row in clips.itertuples()) for _, clips in sets)
        logger.warning("%s several labels: %s", counted(sets.ngroups, "recording has", "recordings have"), names)
