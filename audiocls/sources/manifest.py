"""The manifest: a Parquet table with one row per clip, listed from one or more sources without reading any audio.

Columns: `clip_id` (unique; the path as the source names it), `path` (absolute, or a URI), `label` (null if absent),
`group` (must not straddle a split), `split` (null if not assigned yet), `source` (null, or the name of the source in a
pool), `start_seconds` and `end_seconds` (the segment of the file, null for the whole file; a null end is the end of the
file), `reason` and `detail` (null, or why the clip is quarantined without being read). Clips with any number of labels
have the columns of `label_sets` as well, and recordings with events the column of `events`. `data.columns` adds the
columns that it names, as `column/NAME`. Rows are sorted, so the order does not depend on the file system. The `Listing`
of the source is stored in the table's metadata.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from audiocls.errors import DataError, MissingExtraError, name_some
from audiocls.files import composed, look_alikes, masked, write_table
from audiocls.params import DataParams, DataSource, FolderData, HubData, PoolData, SampleData, SingleSource, TableData
from audiocls.sources.columns import (
    COLUMN,
    COLUMNS as COLUMNS,
    MANIFEST_SCHEMA,
    REFUSAL as REFUSAL,
    SPLITS as SPLITS,
    kept_fields,
)
from audiocls.sources.events import EVENTS_FIELD
from audiocls.sources.folder import list_folder
from audiocls.sources.hub import list_data_set
from audiocls.sources.label_names import LABEL_SETS
from audiocls.sources.label_sets import LABEL_SET_FIELDS, by_label
from audiocls.sources.listing import Listed, Listing, together, with_listing
from audiocls.sources.mixtures import build_mixture_corpus
from audiocls.sources.sample import VERSION, build_sample_corpus
from audiocls.sources.table import list_table

logger = logging.getLogger(__name__)


def list_clips(params: DataSource, workspace: Path) -> Path:
    """List the clips of a source; return the path of the manifest, which is named by its content.

    Ids, labels and groups are normalized to NFC; paths keep the Unicode form that the disk uses.

    Raises:
        DataError: The source does not exist, lacks a column, or has no clips.
        MissingExtraError: The sample corpus is requested and the extra `sample` is not installed.
    """
    listed = _list_pool(params, workspace) if isinstance(params, PoolData) else _list_source(params, workspace)
    clips = _numbered(listed.clips)
    _warn_of_look_alikes(by_label(clips)["label"].dropna(), listed.rest)
    return _write_manifest(clips, listed.rest, workspace)


def _list_source(params: SingleSource, workspace: Path) -> Listed:
    match params:
        case FolderData():
            listed = list_folder(params)
        case TableData():
            listed = list_table(params)
        case HubData():
            listed = list_data_set(params, workspace)
        case SampleData():
            listed = list_table(_sample_table(params, workspace))
    if listed.clips.empty:
        raise DataError(f"{_where(params)}: no clips found.")
    texts = ["clip_id", "label", "group", *(name for name in listed.clips if name.startswith(COLUMN))]
    spelled = {name: listed.clips[name].map(composed, na_action="ignore") for name in texts}
    for name in LABEL_SETS:
        if name in listed.clips:
            spelled[name] = listed.clips[name].map(lambda labels: sorted({composed(label) for label in labels}))
    empty = tuple(sorted({composed(label) for label in listed.rest.empty_classes}))
    return Listed(listed.clips.assign(**spelled), replace(listed.rest, empty_classes=empty))


def _warn_of_look_alikes(labels: pd.Series, rest: Listing) -> None:
    sets = look_alikes({*labels, *rest.empty_classes})
    if sets:
        logger.warning(
            "some labels look alike, but each is a separate class: %s. Fix the labels if they mean the same class.",
            name_some(" ~ ".join(map(repr, names)) for names in sets),
        )


def _where(params: SingleSource) -> str:
    match params:
        case SampleData():
            return "the sample corpus"
        case HubData():
            return f"data.name = {params.name}"
    return f"data.path = {masked(str(params.path))}"


def _list_pool(params: PoolData, workspace: Path) -> Listed:
    """List all sources of a pool and combine their clips."""
    listed = {}
    for name, source in params.sources.items():
        try:
            listed[name] = _list_source(source.model_copy(update={"labels": params.labels}), workspace)
        except (DataError, MissingExtraError) as error:
            raise type(error)(f"data.sources.{name}: {error}") from error
    parts = {name: part.clips for name, part in listed.items()}
    _check_splits(parts)
    named = [_named(clips, name, params) for name, clips in parts.items()]
    columns = _schema(column for clips in named for column in clips).names
    clips = pd.concat([clips.reindex(columns=columns).astype(object) for clips in named])
    return Listed(clips, together(part.rest for part in listed.values()))


def _check_splits(parts: dict[str, pd.DataFrame]) -> None:
    """Raise if only some sources give a split: using all other clips for training would be a guess."""
    given = [name for name, clips in parts.items() if "split" in clips and clips["split"].notna().any()]
    missing = [name for name in parts if name not in given]
    if given and missing:
        raise DataError(
            f"data.sources: {name_some(given)} give a split and {name_some(missing)} do not. Set split_column (for a "
            "hub source: splits) for every source, or for none, so that all clips are split together."
        )


def _named(clips: pd.DataFrame, name: str, params: PoolData) -> pd.DataFrame:
    """Prefix ids with the source's name, and also groups unless groups are shared between sources."""
    clips = clips.assign(source=name, clip_id=f"{name}:" + clips["clip_id"])
    if params.shared_groups and _names_groups(params.sources[name]):
        return clips
    return clips.assign(group=f"{name}:" + clips["group"])


def _names_groups(params: SingleSource) -> bool:
    """Return whether the source defines groups, instead of one group per file."""
    match params:
        case FolderData():
            return params.group_by == "folder" or "group" in re.compile(params.pattern or "").groupindex
        case TableData() | HubData():
            return params.group_column is not None
    return True


def _sample_table(params: SampleData, workspace: Path) -> TableData:
    settings = params.model_dump(exclude={"source", *DataParams.model_fields})
    multi = params.labels == "multi"
    identity = json.dumps(settings | {"version": VERSION} | ({"labels": "multi"} if multi else {}), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    build = build_mixture_corpus if multi else build_sample_corpus
    manifest = build(workspace / "sample" / digest, **settings)
    return TableData(
        source="table",
        labels=params.labels,
        path=manifest,
        group_column="group",
        max_bad_fraction=params.max_bad_fraction,
    )


def _numbered(clips: pd.DataFrame) -> pd.DataFrame:
    """Sort by id, and make repeated ids unique with a suffix, as in "a.wav#2"."""
    clips = clips.sort_values(["clip_id", "label"], kind="stable", ignore_index=True)
    taken = set(clips["clip_id"])
    free: defaultdict[str, Iterator[str]] = defaultdict(lambda: (f"#{n}" for n in itertools.count(2)))
    for row in clips.index[clips.duplicated("clip_id")]:
        name = clips.at[row, "clip_id"]
        clips.at[row, "clip_id"] = next(name + end for end in free[name] if name + end not in taken)
    clips = clips.reindex(columns=_schema(clips).names).astype(object)
    return clips.where(clips.notna(), None)


def _schema(columns: Iterable[str]) -> pa.Schema:
    """Return the schema of a manifest whose clips have some columns."""
    there = dict.fromkeys(columns)
    optional = [field for field in (*LABEL_SET_FIELDS, EVENTS_FIELD) if field.name in there]
    return pa.schema([*MANIFEST_SCHEMA, *optional, *kept_fields(there)])


def _write_manifest(clips: pd.DataFrame, rest: Listing, workspace: Path) -> Path:
    table = pa.Table.from_pandas(clips, schema=_schema(clips), preserve_index=False)
    return write_table(with_listing(table, rest), workspace / "manifests" / f"{_digest(clips, rest)}.parquet")


def _digest(clips: pd.DataFrame, rest: Listing) -> str:
    """Hash the rows and the empty classes; files that are not listed do not affect later stages."""
    lines = [json.dumps(row) for row in clips.itertuples(index=False, name=None)]
    lines += [json.dumps(rest.empty_classes)] if rest.empty_classes else []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
