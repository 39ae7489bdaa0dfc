"""The waveform store: every recording decoded once, as 16-bit samples in Parquet shards.

    <workspace>/waveforms/<key>/          key: hash of decoding.ALGORITHM and the AudioParams that affect the samples
        settings.json                     the settings behind the key
        shards/<name>.parquet             a row per recording, by content hash: samples and measurements, or a reason
        files/<name>.parquet              which file (path, size, modification time) has which content
        plans/<digest>-<new>.parquet      the files that one run found; ....known.parquet: the contents known before it
        unpacked/<name>.i16               the concatenated samples of one shard, memory-mapped in training

A file is read once: hashed, decoded and written. A later run reads no file whose size and modification time are known,
and decodes no content that the store already has under any name. Shards and file tables are written atomically, so a
killed run loses only the shards in progress. The next run on the same files finishes the plan, and the result is byte
for byte that of an uninterrupted run. A file counts as known only while a shard has its samples: a deleted shard is
recreated by the next run.

A shard is named after its plan's digest and its first row. The digest covers everything that determines the shard's
content: the files found and the known contents. Concurrent runs therefore write different shards, or identical ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiocls import decoding
from audiocls.decoding import FileFound, look_at_files
from audiocls.files import (
    Place,
    clean_up,
    local_folder,
    mark_used,
    open_place,
    read_table,
    tables_in,
    write_table,
    writing,
)
from audiocls.params import AudioParams
from audiocls.waveforms.shards import (
    DESCRIBED,
    FILE_KEY,
    FILE_SCHEMA,
    SHARD_SCHEMA,
    ShardPlan,
    known_beside,
    shard_name,
)

SHARD_CLIPS: Final = 128
# Each shard reads one group and the plan's footer, which grows with the number of groups. With one group per shard,
# reading the footers for a million files would take longer than reading the files.
_PLAN_GROUP_SHARDS: Final = 32


@dataclass(frozen=True, slots=True)
class StorePlan:
    """The work left to fill the store for one manifest; `plan` has a row per file."""

    store: Place
    plan: Place
    shards: tuple[ShardPlan, ...]
    local: Path  # the store itself, or for a remote store the local folder that samples are unpacked to


def name_store(params: AudioParams, workspace: Path) -> tuple[Place, str]:
    """Return the folder of the store for these settings, and the settings that its name is derived from, as JSON."""
    settings = {
        "algorithm": decoding.ALGORITHM,
        "sample_rate_hz": params.sample_rate_hz,
        "min_seconds": params.min_seconds,
        "max_file_seconds": params.max_file_seconds,
        "silence_db": params.silence_db,
    }
    text = json.dumps(settings, indent=2, sort_keys=True)
    return stores_folder(params, workspace) / hashlib.sha256(text.encode()).hexdigest()[:12], text


def stores_folder(params: AudioParams, workspace: Path) -> Place:
    """Return the folder with one store for each combination of settings used."""
    place = open_place(params.store or workspace / "waveforms")
    # Absolute, because workers may have another working directory.
    return place.absolute()


def open_store(params: AudioParams, workspace: Path) -> Place:
    """Return the folder of the store for these settings; create it if necessary."""
    store, text = name_store(params, workspace)
    if not (store / "settings.json").exists():
        with writing(store / "settings.json") as part:
            part.write_text(text + "\n")
    return store


def plan_store(manifest: Path, params: AudioParams, workspace: Path) -> StorePlan:
    """Stat every file of the manifest without reading it, and divide the new ones into shards.

    If a run on these files was killed, return its plan with the shards that it did not write.
    """
    store = open_store(params, workspace)
    clean_up(store)
    readable = pq.read_table(manifest, columns=["path"], filters=pc.field("reason").is_null())
    paths = readable["path"].to_pandas().drop_duplicates()
    files = pd.DataFrame(look_at_files(paths, params), columns=FileFound._fields, dtype=object)
    files = files.assign(content_sha256=None)[FILE_SCHEMA.names]
    contents = pa.schema([SHARD_SCHEMA.field("content_sha256")])
    rows, met = _stacked(store / "shards", contents, "shard").to_pandas(), met_files(store)
    found = _find_new(files, rows, met)
    begun = _plan_to_finish(store, files, rows, met, nothing_new=found.new == 0)
    plan, missing = begun or (_write_plan(found, store), _cut(found.new))
    shards = tuple(ShardPlan(store, plan, *shard) for shard in missing)
    return StorePlan(store, plan, shards, local_folder(store, workspace / "waveforms"))


def _plan_to_finish(
    store: Place, files: pd.DataFrame, rows: pd.DataFrame, met: pd.DataFrame, *, nothing_new: bool
) -> tuple[Place, list[tuple[int, int]]] | None:
    """Return the plan of an earlier run on these files with its missing shards; None if there is none.

    A complete plan is returned only if no file is new, so that unreadable files are tried again.
    """
    written = [{path.stem for path in tables_in(store / folder)} for folder in ("shards", "files")]
    begun = {name.partition("-")[0] for name in written[0] | written[1]}
    for plan in tables_in(store / "plans"):
        digest, _, counts = plan.stem.partition("-")
        if digest not in begun or plan.stem.endswith(".known"):
            continue
        missing = [s for s in _cut(int(counts)) if not all(shard_name(plan, s[0]) in names for names in written)]
        if missing or nothing_new:
            others = rows[~rows["shard"].str.startswith(digest)], met[~met["table"].str.startswith(digest)]
            if _find_new(files, *others).plan_name == plan.stem:
                mark_used(plan)
                return plan, missing
    return None


@dataclass(frozen=True, slots=True)
class _Found:
    """The files of a manifest, new ones first, and the contents that the store has."""

    files: pd.DataFrame
    known: pd.DataFrame
    new: int

    @property
    def plan_name(self) -> str:
        """Digest everything that determines the shards' content, so that different plans never share a shard name."""
        digest = hashlib.sha256(str(SHARD_CLIPS).encode())
        for frame in (self.files[[*FILE_KEY, "content_sha256"]].astype(str), self.known):
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        return f"{digest.hexdigest()[:16]}-{self.new}"


def _find_new(files: pd.DataFrame, rows: pd.DataFrame, met: pd.DataFrame) -> _Found:
    files = _with_hashes(files, _known_files(met, rows))
    new = files[files["content_sha256"].isna() & files["reason"].isna()]
    known = rows[["content_sha256"]].drop_duplicates().sort_values("content_sha256").astype("string")
    return _Found(pd.concat([new, files.drop(new.index)]), known, len(new))


def _cut(count: int) -> list[tuple[int, int]]:
    """Divide rows into shards; return (start, stop) of each."""
    return [(start, min(start + SHARD_CLIPS, count)) for start in range(0, count, SHARD_CLIPS)]


def _with_hashes(files: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Fill in what is known of files whose path, size and modification time the store has recorded."""
    if known.empty:  # the store is filled for the first time
        return files
    unread = files.drop(columns=["content_sha256", "reason", "detail"])
    known = unread.merge(known, on=FILE_KEY, how="left")[["content_sha256", "reason", "detail"]]
    return files.assign(**{name: files[name].where(files[name].notna(), known[name]) for name in known}).replace(
        {float("nan"): None}
    )


def met_files(store: Place) -> pd.DataFrame:
    """Read all file tables: each file's content hash or why it could not be read, and its `table`."""
    met: pd.DataFrame = _stacked(store / "files", FILE_SCHEMA, "table").to_pandas()
    return met


def _stacked(folder: Place, schema: pa.Schema, name_column: str) -> pa.Table:
    """Concatenate all tables of a folder and add each row's table name. Arrow is much faster here than pandas."""
    paths = tables_in(folder)
    tables = [read_table(path, schema.names) for path in paths]
    table = pa.concat_tables([schema.empty_table(), *tables])
    rows = np.repeat(np.arange(len(paths), dtype=np.int32), [len(each) for each in tables])
    names = pa.DictionaryArray.from_arrays(rows, pa.array([path.stem for path in paths], pa.string()))
    return table.append_column(name_column, names.cast(pa.string()))


def _known_files(met: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Drop files that could not be read or whose samples are missing, so that they are tried again."""
    there = pc.is_in(pa.array(met["content_sha256"]), value_set=pa.array(stored["content_sha256"]))
    return met[there.to_numpy(zero_copy_only=False)].drop_duplicates(FILE_KEY)


def _write_plan(found: _Found, store: Place) -> Place:
    plan = store / "plans" / f"{found.plan_name}.parquet"
    # Write the known contents first: a plan without them looks like that of a killed run and cannot be finished.
    write_table(found.known, known_beside(plan))
    table = pa.Table.from_pandas(found.files[FILE_SCHEMA.names], schema=FILE_SCHEMA, preserve_index=False)
    return write_table(table, plan, row_group_rows=_PLAN_GROUP_SHARDS * SHARD_CLIPS)


def shard_rows(store: Place) -> pd.DataFrame:
    """Read all columns except the samples from every shard, and add where each recording's samples begin."""
    rows: pd.DataFrame = _stacked(store / "shards", DESCRIBED, "shard").to_pandas()
    lengths = rows["num_samples"].fillna(0).astype("int64")
    return rows.assign(first_sample=lengths.groupby(rows["shard"]).cumsum() - lengths)


def look_up(plan: StorePlan) -> pd.DataFrame:
    """Join the plan's files with the store: a row per path, with samples or with a reason."""
    stored = shard_rows(plan.store).drop_duplicates("content_sha256", ignore_index=True)
    met = met_files(plan.store)
    # A successful read takes precedence over failed ones, and any failed one gives a reason.
    known = pd.concat([_known_files(met, stored), met[met["reason"].notna()]]).drop_duplicates(FILE_KEY)
    files = _with_hashes(read_table(plan.plan).to_pandas(), known)
    found = files.merge(stored, on="content_sha256", how="left", suffixes=("", "_stored"))
    for column in ("reason", "detail"):
        found[column] = found[column].where(found[column].notna(), found.pop(f"{column}_stored"))
    lost = found["shard"].isna() & found["reason"].isna()
    found.loc[lost, ["reason", "detail"]] = ["unreadable", "it has not been added to the store"]
    return found
