"""The clips of a corpus that a saved model can be tested on: others than those that trained it, with known labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
import yaml

from audiocls.errors import DataError, ParamsError, counted, name_some
from audiocls.evaluation.saved_model import SavedModel
from audiocls.files import replacing, write_table
from audiocls.sources import LABELS, by_label, is_multi_label, label_text
from audiocls.splits import of_groups_named_alike, trained_on

Part = Literal["all", "test"]

UNKNOWN: Final = "unknown_labels.csv"


@dataclass(frozen=True, slots=True)
class Remark:
    """What was left out, as the report page shows it; see `page.records.Finding`."""

    sentence: str
    kind: str = "clips"
    figures: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """The clips of an evaluation, and what was left out.

    Attributes:
        clips: Table of the clips, all of the split `test`.
        num_clips: Of the table.
        groups: Of the table.
        trained_on: Clips that were left out because the model, or the choice of it, knows them or their group.
        kept_trained: Whether such clips were kept, as asked.
        remembers: Whether the model says what it was trained on.
        named_alike: Clips of the table whose groups have the names of groups that trained the model.
        unknown: Clips by label that the model does not know. With one label each they are not in the table.
    """

    clips: Path
    num_clips: int
    groups: int
    trained_on: int = 0
    kept_trained: bool = False
    remembers: bool = True
    named_alike: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def left_out(self) -> dict[str, int]:
        """Clips that are not scored, by why; 0 if clips of both kinds were kept."""
        return {
            "trained_on": 0 if self.kept_trained else self.trained_on,
            "unknown_labels": sum(self.unknown.values()),
        }

    def sentences(self) -> list[str]:
        """Say what was left out."""
        said = []
        if not self.remembers:
            said.append(
                "The model does not say which clips it was trained on, so that none could be left out: if some are in "
                "this corpus, the scores are too good."
            )
        elif self.trained_on and self.kept_trained:
            said.append(
                f"{counted(self.trained_on, 'clip')} of groups that the model was trained on are scored, as asked: the "
                "scores are too good."
            )
        elif self.trained_on:
            left = counted(self.trained_on, "clip is", "clips are")
            said.append(f"{left} of groups that the model was trained on, and left out.")
        if self.named_alike:
            said.append(
                f"{counted(self.named_alike, 'clip is', 'clips are')} of groups with the names of groups that the "
                "model was trained on. If these are the same speakers or places, the scores are too good."
            )
        if self.unknown:
            listed = name_some(f"{label} ({clips})" for label, clips in self.unknown.items())
            said.append(
                f"{counted(sum(self.unknown.values()), 'clip has a label', 'clips have labels')} that the model does "
                f"not know, and cannot be right: {listed}."
            )
        return said

    def remarks(self) -> list[Remark]:
        """Return the sentences for the report page."""
        return [Remark(sentence) for sentence in self.sentences()]


def read_label_map(file: Path) -> dict[str, str]:
    """Read which label of a corpus is which label of a model, a YAML or JSON file: `corpus label: model label`.

    Raises:
        ParamsError: It cannot be read, or is something else.
    """
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ParamsError(f"--label-map {file}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict) or not all(isinstance(each, str) for pair in said.items() for each in pair):
        raise ParamsError(
            f"--label-map {file}: must have a line for each label, `label of the corpus: label of the model`"
        )
    return said


def map_labels(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Rename labels; those that are not named stay.

    Raises:
        ParamsError: A label that is named is not in the corpus.
    """
    absent = sorted(set(names) - set(by_label(table)["label"].dropna()))
    if absent:
        raise ParamsError(f"--label-map: no clip has the label {name_some(absent)}.")
    if not is_multi_label(table):
        return table.assign(label=table["label"].map(lambda label: names.get(label, label)))
    sets = {
        column: [sorted({names.get(label, label) for label in labels}) for labels in table[column]]
        for column in (LABELS, "unknown")
    }
    return table.assign(**sets, label=[label_text(labels) for labels in sets[LABELS]])


def select_clips(
    clips: Path,
    model: SavedModel,
    folder: Path,
    *,
    part: Part = "all",
    names: Mapping[str, str] | None = None,
    keep_trained: bool = False,
) -> Selection:
    """Select the clips to test a model on.

    Args:
        clips: The clips table, with its splits if `part` is "test".
        model: To be tested.
        folder: Gets `test_clips.parquet` and, if there are any, `unknown_labels.csv`.
        part: "test" for the test split alone.
        names: The label of the model by label of the corpus; those that are not named stay.
        keep_trained: Score clips of groups that the model was trained on too.

    Raises:
        DataError: No clip is left.
    """
    table = pd.read_parquet(clips)
    if names:
        table = map_labels(table, names)
    if part == "test":
        table = table[table["split"] == "test"]
    num_listed = len(table)
    trained = trained_on(table, model.folder)
    num_trained = 0 if trained is None else int(trained.sum())
    if trained is not None and not keep_trained:
        table = table[~trained]
    unknown = _unknown_labels(table, model.settings.labels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNKNOWN).unlink(missing_ok=True)
    if unknown:
        with replacing(folder / UNKNOWN) as file:
            pd.DataFrame(unknown.items(), columns=["label", "clips"]).to_csv(file, index=False)
    known = by_label(table)["label"].isin(model.settings.labels)
    if not is_multi_label(table):
        table = table[known]
    if not known.any():
        raise DataError(
            f"no clip is left to test {model.asked} on: of {counted(num_listed, 'clip')}, {num_trained} are of groups "
            f"that it was trained on, and {sum(unknown.values())} have labels that it does not know. Its labels are "
            f"{name_some(model.settings.labels)}; --label-map renames those of the corpus."
        )
    alike = 0 if keep_trained else int(of_groups_named_alike(table, model.folder).sum())
    written = write_table(table.assign(split="test").reset_index(drop=True), folder / "test_clips.parquet")
    return Selection(
        Path(str(written)),
        len(table),
        table["group"].nunique(),
        num_trained,
        keep_trained,
        trained is not None,
        alike,
        unknown,
    )


def _unknown_labels(table: pd.DataFrame, labels: Iterable[str]) -> dict[str, int]:
    counts = by_label(table)["label"].value_counts()
    known = set(labels)
    return {str(label): int(clips) for label, clips in counts.items() if label not in known}
