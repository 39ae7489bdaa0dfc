"""What is in each split, as a digest: equal digests mean the same sounds with the same labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from audiocls.sources import SPLITS


@dataclass(frozen=True, slots=True)
class SplitContent:
    """A split with clips."""

    split: str
    clips: int
    digest: str


def split_contents(split_clips: Path) -> list[SplitContent]:
    """Return the splits of a clips table that have clips; names, places and order of the clips change no digest."""
    table = pd.read_parquet(split_clips, columns=["split", "audio_hash", "label"])
    table["line"] = table["audio_hash"] + " " + table["label"].astype(str)
    lines = {split: sorted(table.loc[table["split"] == split, "line"]) for split in SPLITS}
    return [
        SplitContent(split, len(each), hashlib.sha256("\n".join(each).encode()).hexdigest())
        for split, each in lines.items()
        if each
    ]
