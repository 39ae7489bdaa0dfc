"""The answers of a run to its test clips: found by a run's id, name or folder, and read from its predictions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from audiocls.errors import DataError, ParamsError
from audiocls.files import masked, read_table
from audiocls.models import has_settings, load_settings
from audiocls.sources import is_multi_label
from audiocls.tracking import KnownRun, download_file, find_run, flatten

PREDICTIONS: Final = "evaluation/predictions.parquet"
CONTENT: Final = "content_sha256"
"""The column with the hash of a clip's file; runs on other sample rates have the same."""

_OPTIONAL: Final = {"start_seconds": float("nan"), "end_seconds": float("nan"), CONTENT: None, "source": None}
_OF_EVALUATIONS: Final = ("data.", "evaluation.")
_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_PROBABILITY: Final = "probability/"


@dataclass(frozen=True, slots=True)
class RunAnswers:
    """The answers of one run.

    Attributes:
        asked: What the user named the run by.
        name: The run's name, or that of its folder.
        run_id: In MLflow; None if unknown.
        clips: The test clips, a row per clip of `predictions.parquet`.
        labels: Class names that the model knows.
        params: Flat, `training.epochs`; empty if unknown.
        digest: Of the corpus; None if unknown.
    """

    asked: str
    name: str
    run_id: str | None
    clips: pd.DataFrame
    labels: Sequence[str]
    params: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None

    @property
    def is_multi_label(self) -> bool:
        """Whether clips have any number of labels."""
        return is_multi_label(self.clips)


def read_runs(asked: Sequence[str], workspace: Path, uri: str, scratch: Path) -> list[RunAnswers]:
    """Read the answers of runs, and give each a name of its own.

    Args:
        asked: Of each run its folder, its id, the beginning of its id, or its name.
        workspace: Whose `runs` are looked at first.
        uri: Of the MLflow store that knows the runs.
        scratch: Gets what is downloaded.

    Raises:
        ParamsError: There is no such run, or several match.
        DataError: A run has no predictions of test clips.
    """
    runs = [_read(each, workspace, uri, scratch / str(number)) for number, each in enumerate(asked)]
    ids = [run.run_id or str(Path(run.asked).resolve()) for run in runs]
    if len(set(ids)) < len(ids):
        raise ParamsError(f"compare: {' and '.join(asked)} name the same run; name two or more different runs.")
    return runs


def _read(asked: str, workspace: Path, uri: str, scratch: Path) -> RunAnswers:
    folder = Path(asked)
    if folder.is_dir():
        known = find_run(folder.name, _store_beside(folder) or uri) if _RUN_ID.fullmatch(folder.name) else None
    else:
        known = find_run(asked, uri)
        folder = workspace / "runs" / (known.run_id if known else asked)
    file = next((each for each in (folder / PREDICTIONS, folder / "predictions.parquet") if each.is_file()), None)
    if file is None and known is not None:
        file = download_file(known, PREDICTIONS, scratch)
    if file is None:
        raise ParamsError(_unknown(asked, known, folder, uri))
    clips, labels = _read_predictions(file)
    if clips.empty:
        raise DataError(f"{asked}: {file} has no test clips. Compare runs that were evaluated to the end.")
    if known is not None:
        digest = known.tags.get("data.digest")
        return RunAnswers(asked, known.name, known.run_id, clips, labels, _params_of(known), digest)
    return _of_folder(asked, folder, clips, labels)


def _params_of(known: KnownRun) -> dict[str, str]:
    """Return the params of a run; of an evaluation, those of its data and those that its model was trained with."""
    if known.tags.get("kind") != "evaluate":
        return dict(known.params)
    asked = known.tags.get("evaluated.run_id")
    trained = find_run(asked, known.uri) if asked else None
    own = {key: value for key, value in known.params.items() if key.startswith(_OF_EVALUATIONS)}
    others = trained.params if trained else {}
    return {key: value for key, value in others.items() if not key.startswith(_OF_EVALUATIONS)} | own


def _store_beside(folder: Path) -> str | None:
    """Return the store of the workspace that a run's folder is in, if it has one."""
    database = folder.absolute().parent.parent / "mlflow.db"
    return f"sqlite:///{database}" if database.is_file() else None


def _unknown(asked: str, known: KnownRun | None, folder: Path, uri: str) -> str:
    if known is not None:
        return (
            f"{asked}: run {known.run_id} ({known.name}) has no {PREDICTIONS}. Compare runs of `audiocls train` or "
            "`audiocls evaluate` that ended well."
        )
    nowhere = f"there is no such folder and no such run in {masked(uri)}"
    where = f"{folder} has no {PREDICTIONS}" if Path(asked).is_dir() else nowhere
    return f"{asked}: {where}. Name a run by its folder, id or name; --workspace or --uri says where the runs are."


def _read_predictions(file: Path) -> tuple[pd.DataFrame, list[str]]:
    table = read_table(file).to_pandas()
    labels = [name.removeprefix(_PROBABILITY) for name in table.columns if name.startswith(_PROBABILITY)]
    for name, value in _OPTIONAL.items():  # of runs that did not write them yet
        if name not in table:
            table[name] = value
    return table[table["split"] == "test"].reset_index(drop=True), labels


def _of_folder(asked: str, folder: Path, clips: pd.DataFrame, labels: list[str]) -> RunAnswers:
    params: dict[str, str] = {}
    digest = None
    if has_settings(folder / "model"):
        settings = load_settings(folder / "model")
        params, digest = flatten(settings.params), settings.data_digest
    run_id = folder.name if _RUN_ID.fullmatch(folder.name) else None
    return RunAnswers(asked, folder.absolute().name, run_id, clips, labels, params, digest)


def probability_column(label: str) -> str:
    """Return the column of predictions that has the probability of a label."""
    return f"{_PROBABILITY}{label}"
