"""The options of `audiocls predict`, `listen` and `evaluate`. Imports nothing heavy, as help is to be quick."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from audiocls.inference import LabelFormat, RuntimeKind

RunnerKind = Literal["thread", "process", "dask", "ray"]
_ANSWERS, _PARTS, _WHERE, _SOUND = "Answers", "Segments and windows", "Computation", "Sound"
_CLIPS, _FILES = "Clips", "Predictions in files"


def _option(text: str, panel: str, metavar: str | None = None, name: str | None = None) -> Any:
    names = () if name is None else (name,)
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


Models = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder, a run, an MLflow URI or a hub id; or several, with commas.")
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a run, an MLflow URI or a hub id.")]
ModelOrPredictions = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A folder, a run, an MLflow URI or a hub id. Or predictions: a table, or label files.",
    ),
]
Files = Annotated[list[str], typer.Argument(metavar="FILES", help="Files, folders, globs, tables and URIs.")]
Out = Annotated[str | None, _option("A .parquet, .csv or .jsonl file. Default: rows on stdout.", _ANSWERS, "FILE")]
MoreModels = Annotated[
    list[str] | None, _option("Another model; the probabilities are averaged.", _ANSWERS, "MODEL", "--model")
]
PathColumn = Annotated[str, _option("The column of paths in tables among FILES. Default: path.", _ANSWERS, "NAME")]
Strict = Annotated[bool, _option("Exit with 1 if a file cannot be used.", _ANSWERS, name="--strict")]
Top = Annotated[int, _option("Write the K most probable labels.", _ANSWERS, "K")]
Threshold = Annotated[float | None, _option("Below this probability, the label is `unknown`.", _ANSWERS, "P")]

Segments = Annotated[bool, _option("Find which sound is where in each file.", _PARTS, name="--segments")]
Windows = Annotated[bool, _option("Write a label for each window.", _PARTS, name="--windows")]
Format = Annotated[
    LabelFormat | None,
    _option("Write the segments as label files, one a recording, into the folder OUT.", _PARTS, name="--format"),
]
Hop = Annotated[
    float | None,
    _option("From the start of a window to that of the next. Default: as in evaluation.", _PARTS, "SECONDS", "--hop"),
]
On = Annotated[float | None, _option("A segment starts where the probability reaches this.", _PARTS, "P")]
Off = Annotated[float | None, _option("It ends where the probability falls below this.", _PARTS, "P")]
Smoothing = Annotated[float | None, _option("Width of the moving median, which is taken first.", _PARTS, "SECONDS")]
Shortest = Annotated[float | None, _option("Drop segments shorter than this.", _PARTS, "SECONDS")]
Merge = Annotated[float | None, _option("Merge segments that are at most this far apart.", _PARTS, "SECONDS")]
Ignore = Annotated[list[str] | None, _option("Leave out segments of this label. Repeatable.", _PARTS, "LABEL")]

Runtime = Annotated[
    RuntimeKind,
    _option("Use PyTorch, or the exported model. `auto` measures both. Default: torch.", _WHERE, name="--runtime"),
]
Device = Annotated[str, _option("auto, cpu or cuda. Default: auto.", _WHERE, "DEVICE")]
Runner = Annotated[RunnerKind | None, _option("Score in shards, on a task runner of Prefect.", _WHERE, name="--runner")]
Address = Annotated[str | None, _option("Of a Dask scheduler or a Ray cluster.", _WHERE, "URL")]
Workers = Annotated[int | None, _option("How many shards the runner scores at a time.", _WHERE, "N")]

Part = Annotated[
    Literal["all", "test"],
    _option("Score all clips, or the test split of the params alone. Default: all.", _CLIPS, name="--part"),
]
LabelMap = Annotated[
    str | None,
    _option("A YAML file: `label of the corpus: label of the model`, a line each.", _CLIPS, "FILE", "--label-map"),
]
KeepTrained = Annotated[
    bool, _option("Score clips of groups that the model was trained on too.", _CLIPS, name="--keep-trained")
]

GridSeconds = Annotated[
    float | None, _option("Length of a cell of the time grid. Default: 1.", _FILES, "SECONDS", "--grid-seconds")
]
CollarSeconds = Annotated[
    float | None,
    _option("How far off the times of events may be. Default: 0.2.", _FILES, "SECONDS", "--collar-seconds"),
]
LabelColumn = Annotated[
    str | None, _option("The column with the labels in Raven's tables.", _FILES, "NAME", "--label-column")
]

Replayed = Annotated[str | None, _option("A recording in place of the microphone.", _SOUND, "FILE", "--file")]
Microphone = Annotated[
    str | None, _option("A part of its name, or its number. Default: the system's default.", _SOUND, "NAME")
]
