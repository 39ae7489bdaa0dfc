"""Sources, splits, stores and runners that conflict with each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from audiocls.errors import UserMistake
from audiocls.files import open_place
from audiocls.params import DataParams, FolderData, HubData, PoolData, RunParams, SingleSource, TableData
from audiocls.params_file.conflicts.conflict import Conflict

MAX_RECORDING_BYTES = 2_000_000_000  # of 16-bit samples: a Parquet cell holds at most 2 GiB


def _groups_are_defined_once(params: RunParams) -> Iterator[Conflict]:
    for key, data in _sources(params):
        if (
            isinstance(data, FolderData)
            and data.group_by == "folder"
            and "group" in re.compile(data.pattern or "").groupindex
        ):
            yield (
                f"{key}.group_by",
                f"= 'folder': {key}.pattern already has a group (?P<group>...); leave out one of the two",
            )


def _sources(params: RunParams) -> Iterator[tuple[str, DataParams]]:
    """Yield key and params of the single source, or of each pooled source."""
    if isinstance(params.data, PoolData):
        yield from ((f"data.sources.{name}", source) for name, source in params.data.sources.items())
    else:
        yield "data", params.data


def _pool_has_one_limit(params: RunParams) -> Iterator[Conflict]:
    if not isinstance(params.data, PoolData):
        return
    defaults = DataParams().model_dump()
    for key, source in _sources(params):
        for name, default in defaults.items():
            value = getattr(source, name)
            if value != default:
                shown = f"{value:g}" if isinstance(value, float) else repr(value).lower()
                yield f"{key}.{name}", f"= {shown}: applies to all sources together; set data.{name} instead"


_MULTI_ONLY = ("label_separator", "label_columns", "class_columns", "unknown_column", "events")


def _labels_are_given_once(params: RunParams) -> Iterator[Conflict]:
    """Check how a source with several labels per clip gives them."""
    multi = params.data.labels == "multi"
    for key, data in _single_sources(params):
        given = [name for name in _MULTI_ONLY if getattr(data, name, None) is not None]
        if not multi:
            why = "= ...: only clips with several labels need it; set data.labels=multi, or leave it out"
            yield from ((f"{key}.{name}", why) for name in given)
        elif isinstance(data, TableData):
            yield from _table_labels_are_given_once(key, data)


def _table_labels_are_given_once(key: str, data: TableData) -> Iterator[Conflict]:
    if data.label_columns and data.class_columns:
        yield f"{key}.class_columns", f"= ...: {key}.label_columns gives the labels; leave out one of the two"
    columns = "label_columns" if data.label_columns else "class_columns"
    if getattr(data, columns):
        if data.label_column != "label":
            yield f"{key}.label_column", f"= {data.label_column!r}: {key}.{columns} gives the labels; leave it out"
        if data.label_separator and not data.unknown_column:
            yield f"{key}.label_separator", f"= {data.label_separator!r}: {key}.{columns} has one label a cell"
    if data.class_columns and data.unknown_column:
        yield f"{key}.unknown_column", f"= {data.unknown_column!r}: an empty cell of {key}.class_columns says it"
    if data.events is None:
        return
    for name in ("start_column", "end_column"):
        if getattr(data, name) is None:
            yield f"{key}.events", f"= ...: needs {key}.{name}, the time of each event in its recording"
    for name in ("label_columns", "class_columns", "unknown_column"):
        if getattr(data, name):
            yield f"{key}.{name}", f"= ...: with {key}.events, {key}.label_column has the label of each event"


def _split_leaves_training_clips(params: RunParams) -> Iterator[Conflict]:
    held_out = params.split.test_share + params.split.validation_fraction
    if held_out >= 1 and params.split.folds is None:
        yield (
            "split.test_fraction",
            f"= {params.split.test_share} and split.validation_fraction = {params.split.validation_fraction} "
            "leave no clips to train on; their sum must be below 1",
        )


def _folds_are_the_only_split(params: RunParams) -> Iterator[Conflict]:
    split = params.split
    if split.folds is None:
        if split.fold is not None:
            yield "split.fold", f"= {split.fold}: needs split.folds; give both or neither"
        return
    if split.fold is None:
        yield "split.folds", f"= {split.folds}: needs split.fold, the fold to test on: 0 to {split.folds - 1}"
    elif split.fold >= split.folds:
        yield "split.fold", f"= {split.fold}: must be 0 to {split.folds - 1}, as split.folds = {split.folds}"
    if split.test_fraction is not None:
        yield (
            "split.test_fraction",
            f"= {split.test_fraction}: with split.folds, one fold is the test split; leave it out",
        )
    for key, data in _single_sources(params):
        if isinstance(data, TableData) and data.split_column is not None:
            value = f"{data.split_column!r}"
            yield f"{key}.split_column", f"= {value}: split.folds makes the split; leave out one of the two"
        if isinstance(data, HubData) and data.splits is not None:
            yield f"{key}.splits", f"= {data.splits}: split.folds makes the split; leave out one of the two"


def _single_sources(params: RunParams) -> Iterator[tuple[str, SingleSource]]:
    if isinstance(params.data, PoolData):
        yield from ((f"data.sources.{name}", source) for name, source in params.data.sources.items())
    else:
        yield "data", params.data


def _lengths_are_ordered(params: RunParams) -> Iterator[Conflict]:
    audio = params.audio
    if audio.min_seconds >= audio.max_file_seconds:
        yield (
            "audio.min_seconds",
            f"= {audio.min_seconds} and audio.max_file_seconds = {audio.max_file_seconds} leave no length allowed",
        )


def _recording_fits_a_row(params: RunParams) -> Iterator[Conflict]:
    audio = params.audio
    most_seconds = MAX_RECORDING_BYTES // 2 // audio.sample_rate_hz
    if audio.max_file_seconds > most_seconds:
        yield (
            "audio.max_file_seconds",
            f"= {audio.max_file_seconds:g}: at audio.sample_rate_hz = {audio.sample_rate_hz} a recording can have at "
            f"most {most_seconds} s, which is 2 GB of samples; cut longer recordings first",
        )


def _store_has_a_driver(params: RunParams) -> Iterator[Conflict]:
    try:
        open_place(params.audio.store or params.workspace)
    except UserMistake as error:
        yield "audio.store", f"= {params.audio.store!r}: {error}"


def _runner_is_available(params: RunParams) -> Iterator[Conflict]:
    runner, store = params.runner, params.audio.store or ""
    if runner.address is not None and runner.kind not in ("dask", "ray"):
        yield "runner.address", f"= {runner.address!r}: runner.kind={runner.kind} is local; only dask and ray have one"
    if runner.address is not None and runner.workers is not None:
        yield "runner.workers", f"= {runner.workers}: the cluster at runner.address sets it itself; leave it out"
    if runner.kind in ("dask", "ray") and find_spec(f"prefect_{runner.kind}") is None:
        yield "runner.kind", f"= {runner.kind!r}: needs pip install 'audiocls[{runner.kind}]'"
    if runner.kind != "thread" and store.startswith("memory:"):
        yield "audio.store", f"= {store!r}: runner.kind={runner.kind} does not share memory; use a disk or a bucket"


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _groups_are_defined_once,
    _pool_has_one_limit,
    _labels_are_given_once,
    _split_leaves_training_clips,
    _folds_are_the_only_split,
    _lengths_are_ordered,
    _recording_fits_a_row,
    _store_has_a_driver,
    _runner_is_available,
)
