"""The split ledger: the split that each group and sound was assigned to, so that a later corpus does not move them.

Without a ledger, a stratified split has to move some groups when data is added or removed. With it, a test clip stays a
test clip in every later retraining, so the champion and its challenger can be compared. A sound, and every part of it,
is identified by its samples, whatever its file and group are called.

With folds, an entry has one word per fold: "train test validation". NOWHERE marks a fold that a sound was dropped from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from audiocls.files import composed, write_table
from audiocls.sources import SPLITS
from audiocls.splits.copies import Positions, SharedSound, Stretches, same_sound, stretches_of

# Prefixes that no group name has by accident.
_SOUND: Final = "\x1faudio "
_STRETCH: Final = "\x1fstretch "
NOWHERE: Final = "-"
BETWEEN: Final = " "


def recall(clips: pd.DataFrame, remembered: dict[str, str]) -> pd.Series:
    """Return the entry of each clip whose group is known; for other groups, the entry of most of their known sounds.

    Args:
        clips: Clips with `group` and `audio_hash`.
        remembered: The entries from `remembered_splits`.

    Returns:
        With a subset of the index of `clips`; all clips of a group have one entry.
    """
    by_group = clips["group"].map(remembered).astype(object)
    sounds = (_SOUND + clips["audio_hash"]).map(remembered).astype(object)[by_group.isna()].dropna()
    whole = [NOWHERE not in entry.split(BETWEEN) for entry in sounds]
    by_sound = most_frequent(sounds[np.array(whole, bool)], clips["group"])
    return by_group.fillna(clips["group"].map(by_sound)).dropna()


def most_frequent(entries: pd.Series, names: pd.Series) -> pd.Series:
    """Return the most frequent entry of each name; ties go to the alphabetically first, so test before train."""
    counts = pd.DataFrame({"name": names[entries.index], "entry": entries}).value_counts().reset_index(name="clips")
    ranked = counts.sort_values(["clips", "entry"], ascending=[False, True])
    return ranked.drop_duplicates("name").set_index("name")["entry"].astype(object)


class KnownSound:
    """What a ledger knows about the sounds of clips, whatever their groups are."""

    def __init__(self, clips: pd.DataFrame, remembered: dict[str, str]) -> None:
        """Take clips with `audio_hash`; segments also need the columns of `copies.SharedSound`."""
        self._same = _Entries((_SOUND + clips["audio_hash"]).map(remembered))
        self._here = stretches_of(clips)
        if self._here is not None:
            self._whole = _Entries((_SOUND + clips["recording_hash"]).map(remembered))
            entries = {key: entry for key, entry in remembered.items() if key.startswith(_STRETCH)}
            fields = pd.DataFrame(
                [key.removeprefix(_STRETCH).rsplit(" ", 2) for key in entries], columns=["recording", "start", "stop"]
            )
            starts, stops = (fields[name].astype("int64").to_numpy() for name in ("start", "stop"))
            self._stretches = Stretches(fields["recording"], starts, stops)
            self._parts = _Entries(pd.Series(list(entries.values()), dtype=object))

    def find(self, sound: SharedSound, split: str, fold: int = 0) -> Positions:
        """Return which clips share sound with a split of an earlier run: 0 or more, else -1."""
        same = sound.partners(self._same.are_in(split, fold))
        if self._here is None:
            return same
        known = self._parts.are_in(split, fold)
        part = self._here.touched(self._stretches, known, np.arange(len(known)))
        part = np.maximum(part, np.where(self._whole.are_in(split, fold), 0, -1))
        return np.maximum(same, sound.spread(part))


class _Entries:
    """The ledger entries of sounds; None if a sound is unknown."""

    def __init__(self, entries: pd.Series) -> None:
        self._codes, names = pd.factorize(entries)
        self._words = [str(name).split(BETWEEN) for name in names]

    def are_in(self, split: str, fold: int) -> NDArray[np.bool_]:
        """Return which sounds are in a split of a fold, shape (num_entries,)."""
        return np.array([*(words[fold] == split for words in self._words), False], bool)[self._codes]


def remember_groups(clips: pd.DataFrame, splits: pd.DataFrame, remembered: dict[str, str]) -> None:
    """Remember the splits of new groups; `splits` has one column per fold, or a single one."""
    for group, entry in zip(clips["group"], _joined(splits), strict=True):
        remembered.setdefault(group, entry)


def remember_sounds(
    clips: pd.DataFrame, used: pd.DataFrame, remembered: dict[str, str], near: pd.DataFrame | None = None
) -> None:
    """Remember the splits of new sounds; known entries stay as they are.

    Args:
        clips: Clips with `audio_hash`; segments also need their position in the recording.
        used: Their splits, one column per fold or a single one, with the index of `clips`; None for a dropped clip.
        remembered: The entries from `remembered_splits`.
        near: Pairs of near-duplicates that count as one recording.
    """
    rank_of = {name: rank for rank, name in enumerate(SPLITS)}
    ranks = used.apply(lambda fold: fold.map(rank_of)).fillna(-1).astype(int)
    # A dropped clip has the sound of a clip that was used.
    ranks = ranks.groupby(same_sound(clips, near)).transform("max")
    words = pd.DataFrame({fold: ranks[fold].map(lambda rank: SPLITS[rank] if rank >= 0 else NOWHERE) for fold in ranks})
    _add(remembered, _SOUND + clips["audio_hash"], _joined(words))
    if "recording_hash" in clips:
        parts = clips.index[(clips["recording_hash"] != clips["audio_hash"]) & used.notna().any(axis=1)]
        cut, own = clips.loc[parts], used.loc[parts].fillna(NOWHERE)
        starts = cut["start_sample"].astype("int64")
        spans = starts.astype(str) + " " + (starts + cut["num_samples"].astype("int64")).astype(str)
        _add(remembered, _STRETCH + cut["recording_hash"] + " " + spans, _joined(own))


def _joined(splits: pd.DataFrame) -> pd.Series:
    first, *others = (splits[fold] for fold in splits)
    return first.str.cat(others, sep=BETWEEN) if others else first


def _add(remembered: dict[str, str], keys: pd.Series, entries: pd.Series) -> None:
    """Add new entries, and fill in folds that a sound was dropped from so far."""
    for key, entry in zip(keys, entries, strict=True):
        known = remembered.get(key)
        if known is None:
            if any(word != NOWHERE for word in entry.split(BETWEEN)):
                remembered[key] = entry
        elif NOWHERE in known.split(BETWEEN):
            both = zip(known.split(BETWEEN), entry.split(BETWEEN), strict=True)
            remembered[key] = BETWEEN.join(new if old == NOWHERE else old for old, new in both)


@contextmanager
def remembered_splits(ledger: Path) -> Iterator[dict[str, str]]:
    """Yield the split of every known group and sound; what the block adds is saved if it ends without an error.

    Runs that share a ledger wait for each other here.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(ledger.with_suffix(".lock")):
        splits = _read(ledger)
        before = dict(splits)
        yield splits
        if splits != before:
            rows = sorted(splits.items())
            write_table(pd.DataFrame(rows, columns=["group", "split"], dtype="string"), ledger)


def _read(ledger: Path) -> dict[str, str]:
    if not ledger.exists():
        return {}
    table = pd.read_parquet(ledger)
    # Older ledgers spell groups as the source did. Of two spellings of one group, the one used in training counts.
    rows = sorted(zip(table["group"], table["split"], strict=True), key=lambda row: "train" in row[1].split(BETWEEN))
    return {composed(group): split for group, split in rows}
