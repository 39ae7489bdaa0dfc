"""Where the clips come from: each kind of source, and pools of them."""

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
    """What every source of clips has."""

    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="The run stops when a larger share of the clips is quarantined."
    )
    allow_lost_classes: bool = Field(
        False,
        description="Whether to go on without a class that is listed and has no usable clip. false: the run stops.",
    )


class FolderData(DataParams):
    """A directory a class, `path/LABEL/any/depth/clip.wav`, or names that a pattern finds the label in.

    White space around a label is no part of it.
    """

    source: Literal["folder"]
    path: PathOrUri = Field(description="The directory that holds one directory a class, or its URI: s3://bucket/a.")
    pattern: str | None = Field(
        None,
        description="Regular expression that a file's whole path below `path`, with slashes, must match, with the "
        "groups (?P<label>...) and, if there is one, (?P<group>...). What does not match has no label. "
        "null: the first directory is the label.",
    )
    include: list[str] = Field(
        default_factory=list,
        description="Globs over the path below `path`; files that match none are left out. * and ? stay within a "
        "directory, ** is any number of them: **/*.wav. A glob that names a suffix takes it even if it is no usual "
        "one of recordings. Empty: all.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Globs as in `include`; files that match one are left out."
    )
    group_by: Literal["file", "folder"] = Field(
        "file", description="What must not straddle a split: each file alone, or the files of one directory together."
    )

    @field_validator("pattern")
    @classmethod
    def _names_the_label(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = set(re.compile(pattern).groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if "label" not in groups:
            raise ValueError("must have a group (?P<label>...)")
        if groups - _GROUPS:
            raise ValueError(f"may name the groups label and group, and not {', '.join(sorted(groups - _GROUPS))}")
        return pattern

    @field_validator("include", "exclude")
    @classmethod
    def _are_globs(cls, globs: list[str]) -> list[str]:
        for glob in globs:
            try:
                re.compile(glob_translate(glob))
            except (ValueError, re.error) as error:
                raise ValueError(f"{glob!r} is no glob: {error}") from error
        return globs


class TableData(DataParams):
    """A table with a row a clip: CSV, TSV (tabs, no quoting), Parquet or JSON lines."""

    source: Literal["table"]
    path: PathOrUri = Field(description="The table: .csv, .tsv, .parquet, .jsonl or .ndjson; or its URI.")
    path_column: str = Field(
        "path", description="Column of clip paths: absolute, relative to the table's folder, or URIs."
    )
    label_column: str = Field("label", description="Column of class names.")
    group_column: str | None = Field(
        None, description="Column of what must not straddle a split. null: each file alone."
    )
    split_column: str | None = Field(None, description="Column of train, validation or test. null: the split is made.")
    start_column: str | None = Field(
        None,
        description="Column of seconds at which a clip begins in its file, so that a row can be a segment of a long "
        "recording. Empty: 0; where the end is empty too, the clip is the whole file.",
    )
    end_column: str | None = Field(
        None, description="Column of seconds at which a clip ends in its file. Empty: the file's end."
    )
    stay_in_folder: bool = Field(
        False,
        description="Quarantine, unread, paths and URIs that lead out of the table's folder by .. or by being "
        "absolute: for tables of others. Links in the folder are followed.",
    )


class HubData(DataParams):
    """A `datasets` data set: of the hub, saved by `save_to_disk`, or a local folder that `load_dataset` takes."""

    source: Literal["hub"]
    name: PathText = Field(description="A hub id, e.g. PolyAI/minds14, or the path of a local folder.")
    config: str | None = Field(None, description="The data set's configuration, e.g. a language. null: its default.")
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub; a commit keeps runs comparable. null: the newest."
    )
    splits: dict[Literal["train", "validation", "test"], str] | None = Field(
        None,
        description="The data set's split for each of ours, e.g. {train: train, test: test}; one that is not named is "
        "made out of train. null: all of its splits together, and the split is made.",
    )
    audio_column: str = Field("audio", description="Column of audio, of bytes, or of paths.")
    label_column: str = Field("label", description="Column of class names, or of ids that the data set has names for.")
    group_column: str | None = Field(
        None, description="Column of what must not straddle a split. null: each clip alone."
    )

    @field_validator("splits")
    @classmethod
    def _train_somewhere(cls, splits: dict[str, str] | None) -> dict[str, str] | None:
        if splits is not None and "train" not in splits:
            raise ValueError("must name a split for train")
        return splits


class SampleData(DataParams):
    """Ten spoken digits by many synthetic voices, long-tailed; the voice is the group. Needs the extra `sample`."""

    source: Literal["sample"]
    voices: int = Field(72, ge=3, le=1000, description="Synthetic speakers.")
    clips: int = Field(1_800, ge=30, le=1_000_000, description="Clips in all.")
    imbalance_ratio: float = Field(10.0, ge=1, description="Clips of the most frequent class per clip of the rarest.")
    seed: int = Field(1, ge=0, description="Of the corpus; not the run's, so that runs stay comparable.")


SingleSource = FolderData | TableData | HubData | SampleData
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class PoolData(DataParams):
    """Several sources together: labels are pooled by name, and each clip keeps the name of its source."""

    source: Literal["pool"]
    sources: dict[SourceName, Annotated[SingleSource, Field(discriminator="source")]] = Field(
        min_length=1, description="The sources by name, each with its own `source` and keys."
    )
    shared_groups: bool = Field(
        False, description="Whether a group's name means the same speaker, place or device in every source."
    )


DataSource = SingleSource | PoolData
