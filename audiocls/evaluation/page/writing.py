"""Write `report.html`: all of an evaluation in one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from audiocls.evaluation.page.curves import learning_plots, ranking_plots, reliability_plot, risk_plot
from audiocls.evaluation.page.errors import collect_errors
from audiocls.evaluation.page.html import render
from audiocls.evaluation.page.plots import Plot
from audiocls.evaluation.page.predictions import Predictions, read_predictions
from audiocls.evaluation.page.projection import projection_data
from audiocls.evaluation.page.records import Finding, Page
from audiocls.evaluation.page.scores import class_rows, confused_pairs, confusion_of, score_rows
from audiocls.evaluation.page.tables import (
    LABEL_ERRORS,
    LEARNING_CURVES,
    PROJECTION,
    Tables,
    corruption_rows,
    given_ends,
    pair_rows,
    read_tables,
    slice_rows,
    tested_score,
)
from audiocls.evaluation.page.verdict import word_verdict
from audiocls.evaluation.scoring import Evaluation
from audiocls.files import replacing
from audiocls.splits import PreparedData

PAGE: Final = "report.html"


@dataclass(frozen=True, slots=True)
class PageContext:
    """What a page shows beside the tables of the evaluation.

    Attributes:
        title: Of the page, such as the name of the experiment.
        facts: Shown below the title, such as the id of the run.
        audit: The `audit.json` of the data; None if they were not audited.
        findings: What is wrong with the run, at the top.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    audit: Path | None = None
    findings: Sequence[Finding] = ()


def write_page(evaluation: Evaluation, data: PreparedData, context: PageContext) -> Path:
    """Write `report.html` into the folder of an evaluation, from the tables in it.

    Tables that are not there are left out, and the page says so: `slices.csv`, `robustness.csv`, `reliability.csv`,
    `risk_coverage.csv`, `learning_curves.csv`, `label_errors.csv`, `confusable_pairs.csv` and `projection.parquet`.

    Args:
        evaluation: Its metrics, and the folder with at least `predictions.parquet`.
        data: The clips and the waveform store, for the pictures and sounds.
        context: What else the page shows.

    Raises:
        DataError: There are no test clips, or a table lacks a column.
    """
    page = _collect(evaluation, data, context)
    target = evaluation.folder / PAGE
    with replacing(target) as part:
        part.write_text(render(page), encoding="utf-8")
    return target


def _collect(evaluation: Evaluation, data: PreparedData, context: PageContext) -> Page:
    predictions, tables = read_predictions(evaluation.folder / "predictions.parquet"), read_tables(evaluation.folder)
    scores = score_rows(predictions, evaluation.metrics, given_ends(tables.metrics, "metric", "test"))
    classes = class_rows(predictions, given_ends(tables.classes, "label", "f1"))
    slices, corruptions = tuple(slice_rows(tables.slices)), tuple(corruption_rows(tables.robustness))
    pairs, ranking = tuple(pair_rows(tables.pairs)), ranking_plots(predictions, classes)
    if not pairs and not predictions.is_multi_label:
        pairs = confused_pairs(predictions)
    return Page(
        title=context.title,
        facts=context.facts,
        findings=tuple(context.findings),
        verdict=word_verdict(predictions, scores, classes, pairs, slices, corruptions, context.audit),
        is_multi_label=predictions.is_multi_label,
        score_name=_SCORE_NAMES.get(tested_score(tables.slices), tested_score(tables.slices)),
        labels=predictions.labels,
        scores=scores,
        classes=classes,
        confusion=None if predictions.is_multi_label else confusion_of(predictions),
        pairs=pairs,
        plots=(*ranking, *_plots(tables)),
        slices=slices,
        corruptions=corruptions,
        errors=collect_errors(predictions, pairs, tables.label_errors, data, evaluation.folder),
        projection=_projection(predictions, tables, data.params.seed),
        missing=_missing(tables, is_multi_label=predictions.is_multi_label)
        | ({} if ranking else {"ranking": "No class has both clips with it and clips without it."}),
    )


_SCORE_NAMES: Final = {"f1_macro": "macro-F1"}


def _plots(tables: Tables) -> Iterator[Plot]:
    if tables.reliability is not None:
        yield reliability_plot(tables.reliability)
    if tables.risk_coverage is not None:
        yield risk_plot(tables.risk_coverage)
    if tables.learning_curves is not None:
        yield from learning_plots(tables.learning_curves)


def _projection(predictions: Predictions, tables: Tables, seed: int) -> dict[str, Any] | None:
    return None if tables.projection is None else projection_data(tables.projection, predictions, seed)


def _missing(tables: Tables, *, is_multi_label: bool) -> dict[str, str]:
    """Return a line for each part that cannot be shown."""
    absent = {
        "slices": (tables.slices, "slices.csv: no property of the test clips has several values"),
        "robustness": (tables.robustness, "robustness.csv: evaluation.robustness_clips may be 0"),
        "learning": (tables.learning_curves, f"{LEARNING_CURVES}: the model was not trained step by step in this run"),
        "label_errors": (tables.label_errors, f"{LABEL_ERRORS}: label errors were not searched for, or none was found"),
        "projection": (tables.projection, f"{PROJECTION}: embeddings were not projected"),
    }
    if not is_multi_label:
        absent["calibration"] = (tables.reliability, "reliability.csv")
    lines = {name: f"There is no {why}." for name, (table, why) in absent.items() if table is None}
    if is_multi_label:
        lines["calibration"] = "Reliability and risk are of clips with one label each."
        lines["confusion"] = "Clips with several labels have no confusion matrix: see missed and false labels above."
    return lines
