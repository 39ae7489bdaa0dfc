"""What a page shows, as frozen records; the templates turn them into HTML and escape every text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audiocls.evaluation.page.plots import Plot
from audiocls.evaluation.slices import Scored


class Finding(Protocol):
    """What is wrong with a run, and the overrides that may mend it; shown at the top of the page."""

    @property
    def kind(self) -> str:
        """A short name, such as `overfitting`."""

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """The numbers behind the sentence, by name."""

    @property
    def overrides(self) -> Sequence[str]:
        """Arguments of the command line to try, such as `training.epochs=20`."""


@dataclass(frozen=True, slots=True)
class Caution:
    """A finding of the audit that limits what a score is worth."""

    severity: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result in words."""

    score_name: str
    score: Scored
    headline: str
    worth: str  # the verdict of the audit
    tone: str  # `problem`, `warning`, `note` or `unknown`
    cautions: tuple[Caution, ...]
    notes: int  # further findings of the audit
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A score of the whole test split."""

    name: str
    test: Scored
    validation: float | None
    is_fraction: bool  # in [0, 1]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The scores of a class on test."""

    label: str
    clips: int
    predicted: int
    right: int
    precision: float
    recall: float
    f1: Scored
    average_precision: float

    @property
    def missed(self) -> int:
        """Number of clips of the class that are predicted as something else."""
        return self.clips - self.right

    @property
    def false(self) -> int:
        """Number of clips of something else that are predicted as this class."""
        return self.predicted - self.right


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the confusion matrix; `heat` is the fraction of the true class in tenths."""

    count: int
    heat: int
    title: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """Clips by true class (rows) and predicted class (columns)."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    cells: tuple[tuple[Cell, ...], ...]  # empty if there are too many to be read as numbers


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes that are taken for each other."""

    first: str
    second: str
    clips: int  # of both
    errors: int
    rate: Scored


@dataclass(frozen=True, slots=True)
class SliceRow:
    """The score of a part of the test clips."""

    column: str
    value: str
    clips: int
    groups: int
    score: Scored
    limit: float
    verdict: str


@dataclass(frozen=True, slots=True)
class CorruptionRow:
    """The score of test clips with a corruption, and its loss."""

    kind: str
    clips: int
    score: float
    loss: Scored
    unchanged: float
    limit: float
    verdict: str


@dataclass(frozen=True, slots=True)
class ErrorList:
    """A list of the error browser: items by position, each with a remark."""

    key: str
    name: str
    about: str
    entries: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Errors:
    """The items of the error browser, as JSON, and the lists that show them."""

    items: tuple[dict[str, Any], ...]
    lists: tuple[ErrorList, ...]

    @property
    def data(self) -> dict[str, Any]:
        """What the script of the page reads."""
        lists = {each.key: {"about": each.about, "entries": each.entries} for each in self.lists}
        return {"items": self.items, "lists": lists}


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page; `missing` says of each part that is left out why."""

    title: str
    facts: Mapping[str, str]
    findings: tuple[Finding, ...]
    verdict: Verdict
    is_multi_label: bool
    score_name: str  # of the slices and the corruptions
    labels: tuple[str, ...]
    scores: tuple[ScoreRow, ...]
    classes: tuple[ClassRow, ...]
    confusion: Confusion | None
    pairs: tuple[Pair, ...]
    plots: tuple[Plot, ...]
    slices: tuple[SliceRow, ...]
    corruptions: tuple[CorruptionRow, ...]
    errors: Errors
    projection: dict[str, Any] | None
    missing: Mapping[str, str]

    @property
    def knows_validation(self) -> bool:
        """Whether there are scores of validation."""
        return any(row.validation is not None for row in self.scores)
