"""The section `data` of a params file: sources of clips, and pools of sources."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from fsspec.utils import glob_translate
from pydantic import Field, PlainValidator, field_validator
from pydantic_core import PydanticCustomError

from audiocls.files import is_uri
from audiocls.params.strict import Params, PathText, check_path_text

_GROUPS = {"label", "group"}


def _path_or_uri(value: object) -> Path | str:
    check_path_text(value)
    if isinstance(value, str | Path):
        return value if isinstance(value, Path) or is_uri(value) else Path(value)
    raise PydanticCustomError("path_type", "Input is not a path")


PathOrUri = Annotated[Path | str, PlainValidator(_path_or_uri, json_schema_input_type=str)]


class DataParams(Params):
    """Keys of every source of clips."""

    labels: Literal["single", "multi"] = Field(
        "single",
        description="Labels of a clip. single: exactly one; a clip without a label is quarantined. multi: any number, "
        "also none; the model then scores each label on its own.",
    )
    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="Stop the run if a larger fraction of the clips is quarantined."
    )
    allow_lost_classes: bool = Field(
        False,
        description="Continue without a listed class that has no usable clip. false: stop the run.",
    )


class FolderData(DataParams):
    """One directory per class, `path/LABEL/any/depth/clip.wav`, or file names that a pattern extracts the label from.

    Whitespace around a label is removed. With `labels: multi`, a recording that is linked (symbolic or hard links)
    into several class directories has all their labels, and a recording directly in `path` has none.
    """

    source: Literal["folder"]
    path: PathOrUri = Field(description="Directory with one subdirectory per class, or its URI: s3://bucket/a.")
    pattern: str | None = Field(
        None,
        description="Regular expression for a file's path relative to `path`, with slashes. It must match the whole "
        "path and have a group (?P<label>...); (?P<group>...) is optional. Files that do not match have no label. "
        "null: the first directory is the label.",
    )
    include: list[str] = Field(
        default_factory=list,
        description="Globs for the path relative to `path`; files that match none are dropped. * and ? match within a "
        "directory, ** any number of directories: **/*.wav. A glob that names a suffix includes it even if it is not a "
        "usual audio suffix. Empty: all audio files.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Globs as in `include`; files that match any of them are dropped."
    )
    group_by: Literal["file", "folder"] = Field(
        "file", description="Group that is never divided between splits: each file, or all files of a directory."
    )
    label_separator: str | None = Field(
        None,
        min_length=1,
        description="With `labels: multi`, text between the labels of one directory name or pattern match, such as + "
        "in dog+car. null: each name is one label.",
    )

    @field_validator("pattern")
    @classmethod
    def _names_the_label(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = set(re.compile(pattern).groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        if "label" not in groups:
            raise ValueError("must have a group (?P<label>...)")
        if groups - _GROUPS:
            raise ValueError(f"can only have the groups label and group, not {', '.join(sorted(groups - _GROUPS))}")
        return pattern

    @field_validator("include", "exclude")
    @classmethod
    def _are_globs(cls, globs: list[str]) -> list[str]:
        for glob in globs:
            try:
                re.compile(glob_translate(glob))
            except (ValueError, re.error) as error:
                raise ValueError(f"{glob!r} is not a glob: {error}") from error
        return globs


class EventParams(Params):
    """Windows of recordings whose events are known; a window has the labels of the events in it."""

    window_seconds: float = Field(2.0, gt=0, le=600, description="Length of a window.")
    hop_seconds: float | None = Field(
        None, ge=0.01, le=600, description="From the start of one window to that of the next. null: half of a window."
    )
    min_overlap: float = Field(
        0.5,
        gt=0,
        le=1,
        description="A window has the label of an event if it covers at least this fraction of the event, or if the "
        "event covers at least this fraction of the window.",
    )


class TableData(DataParams):
    """A table with one row per clip: CSV, TSV (tabs, no quoting), Parquet or JSON lines."""

    source: Literal["table"]
    path: PathOrUri = Field(description="Path or URI of the table: .csv, .tsv, .parquet, .jsonl or .ndjson.")
    path_column: str = Field(
        "path", description="Column with the clip paths: absolute, relative to the table's folder, or URIs."
    )
    label_column: str = Field(
        "label",
        description="Column with the class names. With `labels: multi`, each cell has any number of them, as text with "
        "`label_separator` or as a list; an empty cell means none of the classes.",
    )
    label_separator: str | None = Field(
        None, min_length=1, description="With `labels: multi`, text between the labels of a cell. null: a comma."
    )
    label_columns: list[str] | None = Field(
        None,
        min_length=1,
        description="With `labels: multi`, several columns with one class name each, instead of `label_column`. An "
        "empty cell is no label.",
    )
    class_columns: list[str] | None = Field(
        None,
        min_length=1,
        description="With `labels: multi`, one column per class, named like it, instead of `label_column`. 1, true or "
        "yes: the clip has the label. 0, false or no: it does not. Empty cell: unknown, and left out of loss and "
        "metrics.",
    )
    unknown_column: str | None = Field(
        None,
        description="With `labels: multi`, column with the labels that nobody checked for this clip, written as those "
        "of `label_column`. They are left out of loss and metrics. null: a label that is not given is absent.",
    )
    events: EventParams | None = Field(
        None,
        description="With `labels: multi`, rows are events in recordings, which may overlap: `start_column` and "
        "`end_column` say when, and the recordings are cut into windows. null: each row is a clip.",
    )
    group_column: str | None = Field(
        None, description="Column with the groups, which are never divided between splits. null: each file is a group."
    )
    split_column: str | None = Field(
        None, description="Column with the split: train, validation or test. null: `split` determines it."
    )
    start_column: str | None = Field(
        None,
        description="Column with the start of the clip in its file, in seconds: a row is then a segment of a "
        "recording. Empty cell: 0. If the end is empty too, the clip is the whole file.",
    )
    end_column: str | None = Field(
        None, description="Column with the end of the clip in its file, in seconds. Empty cell: the end of the file."
    )
    columns: list[str] = Field(
        default_factory=list,
        description="Further columns to keep, such as a device or an age. Test clips are scored by their values as "
        "well. With `events`, a recording has the values of its first row.",
    )
    stay_in_folder: bool = Field(
        False,
        description="Quarantine paths and URIs outside the table's folder (absolute, or with ..) without reading them. "
        "Use it for tables from others. Links in the folder are followed.",
    )


class HubData(DataParams):
    """A dataset of the hub, one saved by `save_to_disk`, or a local folder that `load_dataset` can read."""

    source: Literal["hub"]
    name: PathText = Field(description="A hub id, e.g. PolyAI/minds14, or the path of a local folder.")
    config: str | None = Field(None, description="The dataset's configuration, e.g. a language. null: its default.")
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub; a commit keeps runs comparable. null: the latest."
    )
    splits: dict[Literal["train", "validation", "test"], str] | None = Field(
        None,
        description="The dataset's split to use for each of train, validation and test, e.g. {train: train, test: "
        "test}. A split that is not named is taken from train. null: use all clips; `split` divides them.",
    )
    audio_column: str = Field("audio", description="Column with audio, encoded bytes or paths.")
    label_column: str = Field(
        "label",
        description="Column with class names, or with ids that the dataset has names for; with `labels: multi`, with "
        "lists of them.",
    )
    group_column: str | None = Field(
        None, description="Column with the groups, which are never divided between splits. null: each clip is a group."
    )

    @field_validator("splits")
    @classmethod
    def _train_somewhere(cls, splits: dict[str, str] | None) -> dict[str, str] | None:
        if splits is not None and "train" not in splits:
            raise ValueError("must name a split for train")
        return splits


class SampleData(DataParams):
    """Ten digits spoken by synthetic voices, long-tailed; the voice is the group. Needs the extra `sample`.

    With `labels: multi`, clips are mixtures of one to three digits by different voices, and some are only noise.
    """

    source: Literal["sample"]
    voices: int = Field(72, ge=3, le=1000, description="Number of synthetic voices.")
    clips: int = Field(1_800, ge=30, le=1_000_000, description="Total number of clips.")
    imbalance_ratio: float = Field(10.0, ge=1, description="Clips of the most frequent class per clip of the rarest.")
    seed: int = Field(1, ge=0, description="Seed of the corpus. Independent of the run's, so that runs are comparable.")


SingleSource = FolderData | TableData | HubData | SampleData
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class PoolData(DataParams):
    """Several sources combined: labels are pooled by name, and each clip keeps the name of its source."""

    source: Literal["pool"]
    sources: dict[SourceName, Annotated[SingleSource, Field(discriminator="source")]] = Field(
        min_length=1, description="The sources by name, each with its own `source` and keys."
    )
    shared_groups: bool = Field(
        False, description="Whether a group name means the same speaker, place or device in every source."
    )


DataSource = SingleSource | PoolData
