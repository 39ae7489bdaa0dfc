"""Explain what happened to a clip: `audiocls explain PARAMS.yaml CLIP [key.path=value ...]`.

CLIP is a clip's id as in the tables and reports, or the path or URI of its file. Nothing is decoded, and nothing is
written except what listing the source writes to the workspace.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.batches import features_folder, stored_features
from audiocls.decoding import FileFound, look_at_files
from audiocls.errors import AudioclsError, DataError, UserMistake, counted, name_some
from audiocls.files import Place, damaged, is_uri, masked, open_table
from audiocls.params import AudioParams, RunParams
from audiocls.params_file import load_params
from audiocls.sources import SEGMENT, list_clips
from audiocls.waveforms import cut_segment, met_files, name_store, shard_rows


def explain(params: RunParams, clip: str) -> list[str]:
    """Return what is known about a clip, as lines of text; passwords and tokens in URIs are masked.

    Raises:
        DataError: The clip is neither in the manifest nor on disk.
    """
    rows, path = _find(params, clip)
    row = rows.iloc[0].to_dict() if len(rows) == 1 else None
    lines = [*_describe_clips(rows, path)]
    if row is not None and row["reason"] is not None:
        lines.append(f"not read: {row['reason']}: {row['detail']}")
    else:
        lines += _explain_file(path, row, params.audio, params.workspace)
    return [masked(line) for line in lines]


def _find(params: RunParams, clip: str) -> tuple[pd.DataFrame, str]:
    """Return the clip's row of the manifest, or the rows of all clips in the file, and the file's path."""
    path = clip if is_uri(clip) else str(Path(clip).absolute())
    clips = pd.read_parquet(list_clips(params.data, params.workspace)).astype(object)
    clips = clips.where(clips.notna(), None)
    # Ids first: a segment's id is unique, while its file's path may be that of many. The tables show masked paths.
    named = (clips["clip_id"] == clip, clips["path"] == path, clips["path"].map(masked) == path)
    found = next((clips[is_it] for is_it in named if is_it.any()), clips[:0])
    if len(found):
        return found, found["path"].iloc[0]
    if is_uri(clip) or Path(clip).exists():
        return found, path
    raise DataError(f"{masked(clip)}: data lists no clip with this id or path, and no such file exists.")


def _describe_clips(rows: pd.DataFrame, path: str) -> Iterator[str]:
    if rows.empty:
        yield f"clip: {path}, which data does not list"
        return
    if len(rows) > 1:
        yield f"clips: {len(rows)} in one file; give the id of one of them: {name_some(rows['clip_id'])}"
    else:
        row = rows.iloc[0]
        label = "no label" if row["label"] is None else f"label {row['label']}"
        yield f"clip: {row['clip_id']}, {label}, group {row['group']}"
    yield f"path: {path}"


def _explain_file(path: str, row: dict[str, Any] | None, audio: AudioParams, workspace: Path) -> Iterator[str]:
    """Yield what is known about a file, and about the clip that `row` lists in it, if any."""
    store, settings = name_store(audio, workspace)
    there = "" if (store / "settings.json").exists() else ", not created yet"
    yield f"store: {store}{there}; its name is a hash of {' '.join(settings.split())}"
    (file,) = look_at_files([path], audio)
    if file.reason is not None:
        yield f"not read: {file.reason}: {file.detail}"
        return
    etag = "" if file.etag is None else f", ETag {file.etag}"
    yield f"file: {file.size_bytes:,} bytes, modified at {pd.Timestamp(file.modified_ns)} UTC{etag}"
    met, rows = met_files(store), shard_rows(store)
    known = met[(met["path"] == path) & met["content_sha256"].isin(rows["content_sha256"])]
    is_same = (known["size_bytes"] == file.size_bytes) & (known["modified_ns"] == file.modified_ns)
    same = known[is_same & (known["etag"].fillna("") == (file.etag or ""))]
    if same.empty:
        yield from _explain_unknown(file, met, rows)
    else:
        yield f"known: {_key_words(file)} match table {same['table'].iloc[0]}; not read again"
        content = same["content_sha256"].iloc[0]
        yield _describe_bytes(content, path, met)
        yield from _explain_clip(rows[rows["content_sha256"] == content].iloc[0], row, store, workspace)


def _key_words(file: FileFound) -> str:
    return "path, size and modification time" if file.etag is None else "path, size, modification time and ETag"


def _explain_unknown(file: FileFound, met: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Yield why the next run reads the file."""
    before = met[met["path"] == file.path]
    if before.empty:
        yield "will be read by the next run: no run has seen this path"
        return
    last = before.iloc[-1]
    if pd.isna(last["content_sha256"]) and last["size_bytes"] == file.size_bytes:
        yield f"will be read by the next run, as by every run: {last['reason']}: {last['detail']}"
    elif last["content_sha256"] not in set(rows["content_sha256"]):
        yield f"will be read by the next run: the shard with its bytes, {last['content_sha256']}, is missing"
    else:
        was = f"{last['size_bytes']:,} bytes, modified at {pd.Timestamp(last['modified_ns'])} UTC"
        yield f"will be read by the next run: it changed; when last read it had {was}"


def _describe_bytes(content: str, path: str, met: pd.DataFrame) -> str:
    others = sorted(set(met.loc[met["content_sha256"] == content, "path"]) - {path})
    also = f", shared by {counted(len(others), 'other path')}, e.g. {others[0]}" if others else ""
    return f"bytes: SHA-256 {content}{also}"


def _explain_clip(recording: pd.Series, row: dict[str, Any] | None, store: Place, workspace: Path) -> Iterator[str]:
    """Yield what the store has of a recording, and what happens to the clip that `row` lists in it."""
    if pd.notna(recording["reason"]):
        yield f"decoded, and in quarantine: {recording['reason']}: {recording['detail']}"
        return
    yield (
        f"decoded: {recording['duration_seconds']:.3f} s of {recording['source_format']}, "
        f"{int(recording['source_rate_hz'])} Hz, {int(recording['source_channels'])} channels"
    )
    first, length = int(recording["first_sample"]), int(recording["num_samples"])
    audio_hash = recording["audio_hash"]
    if row is not None and row["start_seconds"] is not None:
        end = "the end" if row["end_seconds"] is None else f"{row['end_seconds']:g} s"
        yield f"segment: from {row['start_seconds']:g} s to {end}"
        cut = _cut(recording, row, store)
        if cut["reason"] is not None:
            yield f"in quarantine: {cut['reason']}: {cut['detail']}"
            return
        first, length, audio_hash = first + cut["start_sample"], cut["num_samples"], cut["audio_hash"]
    if row is not None and row["label"] is None:
        yield "in quarantine: unlabelled: the source gives no label"
        return
    yield f"stored: {length:,} samples, from sample {first:,} of {_shard_of(recording, store)}"
    yield from _explain_features(audio_hash, recording["scale"], workspace)


def _explain_features(audio_hash: str, scale: float, workspace: Path) -> Iterator[str]:
    """Yield which feature stores have features of a clip."""
    for path in sorted(features_folder(workspace.absolute()).glob("*/settings.json")):
        kept = stored_features(path.parent)
        # The hash of a window of a long clip is the clip's hash, followed by the window's start.
        is_of_clip = kept["audio_hash"].str.partition(":")[0] == audio_hash
        rows = kept[is_of_clip & (kept["scale"] == np.float32(scale))]
        if len(rows):
            extractor = json.loads(path.read_text())["extractor"]["class"]
            shards = name_some(path.parent / "shards" / f"{name}.parquet" for name in rows["feature_shard"].unique())
            yield f"features: {len(rows)} of the clip or its windows, by {extractor}, in {shards}"


def _shard_of(recording: pd.Series, store: Place) -> Place:
    return store / "shards" / f"{recording['shard']}.parquet"


def _cut(recording: pd.Series, row: dict[str, Any], store: Place) -> dict[str, Any]:
    """Cut a segment as a run does, but without unpacking the shard."""
    bounds = {name: math.nan if row[name] is None else row[name] for name in SEGMENT}
    (segment,) = pd.DataFrame([recording.to_dict() | bounds]).itertuples()
    return cut_segment(segment, _read_samples(recording["content_sha256"], _shard_of(recording, store)), store)


def _read_samples(content: str, shard: Place) -> NDArray[np.int16]:
    """Read one recording from its shard, with at most one row group in memory."""
    with open_table(shard) as table:
        for group in range(table.num_row_groups):
            hashes = table.read_row_group(group, ["content_sha256"])["content_sha256"].to_pylist()
            if content in hashes:
                samples = table.read_row_group(group, ["samples"])["samples"][hashes.index(content)]
                return np.frombuffer(samples.as_buffer(), "<i2")
    raise damaged(shard, ValueError(f"it has no row for {content}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the lines; return exit status 0, 2 for a user mistake or 1 for any other error."""
    parser = argparse.ArgumentParser(prog="audiocls explain", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("params_file", metavar="PARAMS.yaml")
    parser.add_argument("clip", metavar="CLIP", help="a clip's id, or the path or URI of its file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    arguments = parser.parse_args(argv)
    try:
        lines = explain(load_params(arguments.params_file, arguments.overrides), arguments.clip)
    except AudioclsError as error:
        sys.stderr.write(f"error: {masked(str(error))}\n")
        return 2 if isinstance(error, UserMistake) else 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
