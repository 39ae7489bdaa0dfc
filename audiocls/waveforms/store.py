"""The waveform store: every recording decoded once, as 16-bit samples in Parquet shards.

    <workspace>/waveforms/<key>/          key: AudioParams as far as they decide the samples, and decoding.ALGORITHM
        settings.json                     what the key stands for
        shards/<name>.parquet             a row a recording, by the hash of its bytes: samples and measures, or a reason
        files/<name>.parquet              which file (path, size, time of change) holds which bytes
        plans/<digest>-<new>.parquet      what one run found on the disk, and ....known.parquet what the store had then
        unpacked/<name>.i16               the samples of one shard end to end, to be mapped in training

A file is read once: hashed, decoded, written. A second run reads no file whose size and time of change are known, and
decodes no bytes that the store has under whatever name. Shards and file tables appear whole or not at all, so a killed
run loses the shards in flight and nothing else; the next run on the same files finishes its plan, and leaves byte for
byte what an undisturbed run would have left. A file counts as known only while a shard has its samples: whoever
deletes a damaged shard gets it back with the next run.

The name of a shard is its plan's digest and the first of its rows. The digest is of all that decides the shard's
content: the files found, and what the store had. So runs at the same time write different shards, or the same.
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
# Each shard reads the plan's footer, which grows with the number of groups, and one group. With a group a shard, the
# footers of a million files would take longer to read than the files.
_PLAN_GROUP_SHARDS: Final = 32


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What filling the store for one manifest takes; `plan` has a row a file."""

    store: Place
    plan: Place
    shards: tuple[ShardPlan, ...]
    local: Path  # the store, or the folder of this machine that stands for a store elsewhere when samples are mapped


def name_store(params: AudioParams, workspace: Path) -> tuple[Place, str]:
    """Return the folder of the store for these settings, and the settings that its name is made of, as JSON."""
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
    """Return the folder that holds a store for each of the settings that were used."""
    place = open_place(params.store or workspace / "waveforms")
    # Absolute, as whoever writes the shards may have another working directory.
    return place.absolute()


def open_store(params: AudioParams, workspace: Path) -> Place:
    """Return the folder of the store for these settings, made if need be."""
    store, text = name_store(params, workspace)
    if not (store / "settings.json").exists():
        with writing(store / "settings.json") as part:
            part.write_text(text + "\n")
    return store


def plan_store(manifest: Path, params: AudioParams, workspace: Path) -> StorePlan:
    """Look at every file of the manifest, read none, and cut those that are new into shards.

    Where a run on these files was killed, the plan is that run's, and its shards are those that it did not write.
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
    """Return the plan that would be made had its own shards not been written, and those that have not been.

    A plan with all its shards is taken only where nothing is new, so that files that could not be read are tried again.
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
    """The files of a manifest, those that are new first, and the contents that the store has."""

    files: pd.DataFrame
    known: pd.DataFrame
    new: int

    @property
    def plan_name(self) -> str:
        """Digest all that decides the shards' content, so that no other plan's shards can have their names."""
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
    """Cut rows into shards: (start, stop) of each."""
    return [(start, min(start + SHARD_CLIPS, count)) for start in range(0, count, SHARD_CLIPS)]


def _with_hashes(files: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Enter what is known of every file whose path, size and time of change the store has met."""
    if known.empty:  # a store that is filled for the first time: there is nothing to look for
        return files
    unread = files.drop(columns=["content_sha256", "reason", "detail"])
    known = unread.merge(known, on=FILE_KEY, how="left")[["content_sha256", "reason", "detail"]]
    return files.assign(**{name: files[name].where(files[name].notna(), known[name]) for name in known}).replace(
        {float("nan"): None}
    )


def met_files(store: Place) -> pd.DataFrame:
    """Read every file table: which file held which bytes, or why it could not be read, and in which `table`."""
    met: pd.DataFrame = _stacked(store / "files", FILE_SCHEMA, "table").to_pandas()
    return met


def _stacked(folder: Place, schema: pa.Schema, name_column: str) -> pa.Table:
    """Read all tables of a folder into one, and from which each row is: one after another pandas takes far longer."""
    paths = tables_in(folder)
    tables = [read_table(path, schema.names) for path in paths]
    table = pa.concat_tables([schema.empty_table(), *tables])
    rows = np.repeat(np.arange(len(paths), dtype=np.int32), [len(each) for each in tables])
    names = pa.DictionaryArray.from_arrays(rows, pa.array([path.stem for path in paths], pa.string()))
    return table.append_column(name_column, names.cast(pa.string()))


def _known_files(met: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Leave out the files that could not be read, or whose samples are gone, so that they are tried again."""
    there = pc.is_in(pa.array(met["content_sha256"]), value_set=pa.array(stored["content_sha256"]))
    return met[there.to_numpy(zero_copy_only=False)].drop_duplicates(FILE_KEY)


def _write_plan(found: _Found, store: Place) -> Place:
    plan = store / "plans" / f"{found.plan_name}.parquet"
    # What is known first: a plan without it would be taken for one that a killed run left, and could not be finished.
    write_table(found.known, known_beside(plan))
    table = pa.Table.from_pandas(found.files[FILE_SCHEMA.names], schema=FILE_SCHEMA, preserve_index=False)
    return write_table(table, plan, row_group_rows=_PLAN_GROUP_SHARDS * SHARD_CLIPS)


def shard_rows(store: Place) -> pd.DataFrame:
    """Read all columns but the samples of every shard, and where each recording's samples begin."""
    rows: pd.DataFrame = _stacked(store / "shards", DESCRIBED, "shard").to_pandas()
    lengths = rows["num_samples"].fillna(0).astype("int64")
    return rows.assign(first_sample=lengths.groupby(rows["shard"]).cumsum() - lengths)


def look_up(plan: StorePlan) -> pd.DataFrame:
    """Join the plan's files with what the store has of them: a row a path, with samples or with a reason."""
    stored = shard_rows(plan.store).drop_duplicates("content_sha256", ignore_index=True)
    met = met_files(plan.store)
    # Once read beats any failed try, and of two failed tries either says why.
    known = pd.concat([_known_files(met, stored), met[met["reason"].notna()]]).drop_duplicates(FILE_KEY)
    files = _with_hashes(read_table(plan.plan).to_pandas(), known)
    found = files.merge(stored, on="content_sha256", how="left", suffixes=("", "_stored"))
    for column in ("reason", "detail"):
        found[column] = found[column].where(found[column].notna(), found.pop(f"{column}_stored"))
    lost = found["shard"].isna() & found["reason"].isna()
    found.loc[lost, ["reason", "detail"]] = ["unreadable", "the store has not been filled with it"]
    return found
