"""Why a clip was computed or not: `python -m audiocls.explain PARAMS.yaml CLIP [key.path=value ...]`.

CLIP is a clip's id as the tables and reports name it, or the path or URI of its file. Nothing is decoded or written,
but for what listing the source writes to the workspace.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audiocls.clip_files import FileFound, look_at_files
from audiocls.errors import AudioclsError, DataError, UserMistake
from audiocls.manifest import list_clips
from audiocls.params import AudioParams, RunParams
from audiocls.params_file import load_params
from audiocls.places import is_uri
from audiocls.storage import Place
from audiocls.waveforms import met_files, name_store, shard_rows


def explain(params: RunParams, clip: str) -> list[str]:
    """Return what there is to say of a clip, a line each.

    Raises:
        DataError: Neither the manifest nor the disk knows it.
    """
    row, path = _find(params, clip)
    if row is None:
        lines = [f"clip: {path}, which is none of the clips that data lists"]
    else:
        lines = [f"clip: {row['clip_id']}, label {row['label']}, group {row['group']}", f"path: {path}"]
        if row["reason"] is not None:
            return [*lines, f"not read: {row['reason']}: {row['detail']}"]
    return lines + list(_explain_file(path, params.audio, params.workspace))


def _find(params: RunParams, clip: str) -> tuple[dict[str, Any] | None, str]:
    """Return the clip's row of the manifest, if it has one, and its path."""
    path = clip if is_uri(clip) else str(Path(clip).absolute())
    clips = pd.read_parquet(list_clips(params.data, params.workspace)).astype(object)
    clips = clips.where(clips.notna(), None)
    found = clips[(clips["clip_id"] == clip) | (clips["path"] == path)]
    if len(found):
        row = found.iloc[0].to_dict()
        return row, row["path"]
    if is_uri(clip) or Path(clip).exists():
        return None, path
    raise DataError(f"{clip}: data lists no clip with this id or path, and there is no such file.")


def _explain_file(path: str, audio: AudioParams, workspace: Path) -> Iterator[str]:
    store, settings = name_store(audio, workspace)
    there = "" if (store / "settings.json").exists() else ", not made yet"
    yield f"store: {store}{there}; its name is that of {' '.join(settings.split())}"
    (file,) = look_at_files([path], audio)
    if file.reason is not None:
        yield f"not read: {file.reason}: {file.detail}"
        return
    etag = "" if file.etag is None else f", ETag {file.etag}"
    yield f"file: {file.size_bytes:,} bytes, changed at {pd.Timestamp(file.modified_ns)} UTC{etag}"
    met, rows = met_files(store), shard_rows(store)
    known = met[(met["path"] == path) & met["content_sha256"].isin(rows["content_sha256"])]
    is_same = (known["size_bytes"] == file.size_bytes) & (known["modified_ns"] == file.modified_ns)
    same = known[is_same & (known["etag"].fillna("") == (file.etag or ""))]
    if same.empty:
        yield from _explain_unknown(file, met, rows)
    else:
        yield f"known: {_key_words(file)} are those of table {same['table'].iloc[0]}; not read again"
        yield from _explain_content(same["content_sha256"].iloc[0], path, met, rows, store)


def _key_words(file: FileFound) -> str:
    return "path, size and time of change" if file.etag is None else "path, size, time of change and ETag"


def _explain_unknown(file: FileFound, met: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Say why the next run reads the file."""
    before = met[met["path"] == file.path]
    if before.empty:
        yield "will be read by the next run: no run has met this path"
        return
    last = before.iloc[-1]
    if pd.isna(last["content_sha256"]) and last["size_bytes"] == file.size_bytes:
        yield f"will be read by the next run, as by every run: {last['reason']}: {last['detail']}"
    elif last["content_sha256"] not in set(rows["content_sha256"]):
        yield f"will be read by the next run: the shard with its bytes, {last['content_sha256']}, is gone"
    else:
        was = f"{last['size_bytes']:,} bytes, changed at {pd.Timestamp(last['modified_ns'])} UTC"
        yield f"will be read by the next run: it changed; when it was read it had {was}"


def _explain_content(content: str, path: str, met: pd.DataFrame, rows: pd.DataFrame, store: Place) -> Iterator[str]:
    """Say what the store has of some bytes."""
    row = rows[rows["content_sha256"] == content].iloc[0]
    others = sorted(set(met.loc[met["content_sha256"] == content, "path"]) - {path})
    also = f", as have {len(others)} other paths, e.g. {others[0]}" if others else ""
    yield f"bytes: SHA-256 {content}{also}"
    if pd.notna(row["reason"]):
        yield f"decoded, and in quarantine: {row['reason']}: {row['detail']}"
        return
    yield (
        f"decoded: {row['duration_seconds']:.3f} s of {row['source_format']}, {int(row['source_rate_hz'])} Hz, "
        f"{int(row['source_channels'])} channels"
    )
    shard = store / "shards" / f"{row['shard']}.parquet"
    yield f"stored: {int(row['num_samples']):,} samples, from sample {int(row['first_sample']):,} of {shard}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the lines; exit status 0, or 2 for a mistake and 1 for what else is wrong."""
    parser = argparse.ArgumentParser(prog="python -m audiocls.explain", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("params_file", metavar="PARAMS.yaml")
    parser.add_argument("clip", metavar="CLIP", help="a clip's id, or the path or URI of its file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    arguments = parser.parse_args(argv)
    try:
        lines = explain(load_params(arguments.params_file, arguments.overrides), arguments.clip)
    except AudioclsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, UserMistake) else 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
