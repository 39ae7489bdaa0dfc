"""The corpus of a run: usable clips with the location of their samples, and clips in quarantine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.errors import DataError, counted, name_some
from audiocls.files import masked, write_table
from audiocls.sources import (
    COLUMNS,
    EVENTS,
    LABEL_SET_FIELDS,
    LABEL_SETS,
    REFUSAL,
    SEGMENT,
    is_multi_label,
    kept_fields,
    read_listing,
)
from audiocls.waveforms.counts import check_lost, count_stages, read_counts, write_counts
from audiocls.waveforms.event_windows import cut_into_event_windows
from audiocls.waveforms.segments import cut_segments
from audiocls.waveforms.shards import SHARD_SCHEMA
from audiocls.waveforms.store import StorePlan, look_up

_TEXT: Final = [pa.field(name, pa.string()) for name in COLUMNS]
_SEGMENT: Final = [pa.field(name, pa.float64()) for name in SEGMENT]
QUARANTINE_SCHEMA: Final = pa.schema([*_TEXT, *_SEGMENT, *(pa.field(name, pa.string()) for name in REFUSAL)])
CLIPS_SCHEMA: Final = pa.schema(
    [
        *_TEXT,
        *_SEGMENT,
        *(field for field in SHARD_SCHEMA if field.name not in (*REFUSAL, "samples")),
        pa.field("shard", pa.string()),
        pa.field("first_sample", pa.int64()),
        # Of the clip's source file: the hash of all its samples, and the position at which the clip begins.
        pa.field("recording_hash", pa.string()),
        pa.field("start_sample", pa.int64()),
    ]
)


def _schema(base: pa.Schema, rows: pd.DataFrame) -> pa.Schema:
    """Return the schema of a table of the corpus, with the columns of several labels and those kept, if there are."""
    return pa.schema([*base, *(LABEL_SET_FIELDS if is_multi_label(rows) else ()), *kept_fields(rows.columns)])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Two Parquet tables: `clips` for training and testing, and `quarantine` with a reason per row."""

    clips: Path
    quarantine: Path
    store: Path  # local; for a remote store, the local folder that its samples are unpacked to
    digest: str  # of the clips' audio, labels, groups and splits; independent of where the files are
    num_clips: int
    num_quarantined: int

    @property
    def counts(self) -> Path:
        """The JSON file that counts the listed and the usable clips."""
        return self.clips.with_name("counts.json")


def collect_corpus(manifest: Path, plan: StorePlan, workspace: Path) -> Corpus:
    """Join the manifest with the filled store."""
    rows = pq.read_table(manifest).to_pandas()
    found = look_up(plan).drop(columns=["size_bytes", "modified_ns"])
    rows = rows.merge(found, on="path", how="left", suffixes=("_listed", ""))
    for column in REFUSAL:  # clips that the manifest rejects were not read
        rows[column] = rows[f"{column}_listed"].where(rows["reason_listed"].notna(), rows[column])
    rows = rows.assign(recording_hash=rows["audio_hash"], start_sample=0)
    if EVENTS in rows:
        rows = cut_into_event_windows(rows)
    segments = rows["start_seconds"].notna() & rows["reason"].isna()
    if segments.any():
        cut = cut_segments(rows[segments], plan.store)
        rows = rows.astype(dict.fromkeys(cut.select_dtypes("number"), "float64"))
        rows.loc[segments, cut.columns] = cut
    unlabelled = rows["label"].isna()
    rows.loc[unlabelled & rows["reason"].isna(), ["reason", "detail"]] = ["unlabelled", "the source gives no label"]
    rows["path"] = [masked(path) for path in rows["path"]]
    good = rows[rows["reason"].isna()]
    bad = rows[rows["reason"].notna()]
    table = pa.Table.from_pandas(good, schema=_schema(CLIPS_SCHEMA, rows), preserve_index=False)
    digest = _digest(table)
    folder = workspace / "corpora" / f"{manifest.stem}-{plan.store.name}-{digest[:12]}"
    clips = write_table(table, folder / "clips.parquet")
    refused = pa.Table.from_pandas(bad, schema=_schema(QUARANTINE_SCHEMA, rows), preserve_index=False)
    quarantine = write_table(refused, folder / "quarantine.parquet")
    write_counts(count_stages(rows, read_listing(manifest)), folder / "counts.json")
    return Corpus(clips, quarantine, plan.local, digest, len(good), len(bad))


def check_quarantine(corpus: Corpus, max_bad_fraction: float) -> None:
    """Raise an error if more than `max_bad_fraction` of the clips cannot be used.

    Raises:
        DataError: Too many clips are unusable; the message names the first ten with their reasons.
    """
    total = corpus.num_clips + corpus.num_quarantined
    # Divide, do not multiply: 0.29 * 100 is slightly less than 29, but 29 / 100 is 0.29.
    if corpus.num_clips == 0 or corpus.num_quarantined / total > max_bad_fraction:
        bad = pd.read_parquet(corpus.quarantine)
        names = name_some(f"{row.clip_id} ({row.reason}: {row.detail})" for row in bad.itertuples())
        raise DataError(
            f"{corpus.num_quarantined} of {counted(total, 'clip')} cannot be used, but data.max_bad_fraction is "
            f"{max_bad_fraction:g}: {names}. Full list: {corpus.quarantine}"
        )


def check_lost_classes(corpus: Corpus, *, allow: bool) -> None:
    """Raise an error if a given split, a pooled source or, unless `allow` is set, a class has no usable clip.

    Raises:
        DataError: At least one has none; the message names all, with the reasons of their clips.
    """
    check_lost(read_counts(corpus.counts), corpus.quarantine, allow_lost_classes=allow)


def quarantine_summary(corpus: Corpus) -> str:
    """Summarize in one line how many clips are in quarantine, why, and where to look; "" if there are none."""
    if not corpus.num_quarantined:
        return ""
    counts = pd.read_parquet(corpus.quarantine)["reason"].value_counts()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    clips = counted(corpus.num_quarantined, "clip is", "clips are")
    return f"{clips} in quarantine ({reasons}); see {corpus.quarantine}"


def _digest(clips: pa.Table) -> str:
    columns = ["clip_id", "label", "group", "split", "audio_hash"]
    columns += ["source"] if clips["source"].null_count < len(clips) else []
    columns += [name for name in LABEL_SETS if name in clips.column_names]
    lines = (json.dumps(row) for row in zip(*(clips[name].to_pylist() for name in columns), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def quarantined(corpus: Corpus, most: int) -> list[dict[str, str]]:
    """Return the first rows of the quarantine table: clip_id, label, reason and detail."""
    rows = pd.read_parquet(corpus.quarantine, columns=["clip_id", "label", "reason", "detail"]).head(most)
    return rows.fillna("").to_dict(orient="records")
