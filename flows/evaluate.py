"""Evaluate a saved model, or predictions in files, on a labelled corpus: `audiocls evaluate MODEL PARAMS.yaml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["evaluate", *sys.argv[1:]]))

from prefect import flow

from audiocls import tracking
from audiocls.errors import ParamsError
from audiocls.evaluation import GridOptions, Part, is_predictions
from audiocls.params import RunParams
from audiocls.params_file import load_params
from audiocls.splits import PreparedData
from audiocls.stopwatch import stopwatch
from flows.preparation import audit_test_corpus, gather_corpus
from flows.runs import name_evaluation, report_unsent
from tasks.corpus import check_quarantine
from tasks.evaluation import evaluate_saved, find_saved_model, score_detections, select_clips, write_saved_page
from tasks.manifest import ingest
from tasks.tracking import log_evaluation, open_run, publish_detections, publish_evaluation
from tasks.waveforms import cache_waveforms


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """The result of `evaluate-flow`, which the command line prints as JSON."""

    run_id: str
    model: str
    metrics: dict[str, float]
    clips: int
    left_out: dict[str, int]
    report: str
    seconds: dict[str, float]
    unsent: tracking.Unsent | None
    summary: str


@flow(name="evaluate-flow", flow_run_name=name_evaluation)
def evaluate_flow(
    model: str,
    params_file: str,
    overrides: tuple[str, ...] = (),
    part: Part = "all",
    label_map: str | None = None,
    keep_trained: bool = False,
    grid_seconds: float | None = None,
    collar_seconds: float | None = None,
    label_column: str | None = None,
) -> EvaluateResult:
    """Score a saved model, as it is, on the labelled clips of a corpus that did not train it.

    Or score predictions in files against the annotations of the corpus.
    """
    params = load_params(params_file, overrides)
    grid = GridOptions(grid_seconds, collar_seconds, label_column)
    with stopwatch() as seconds:
        if is_predictions(model):
            result = _score_files(model, params, part, label_map, grid, keep_trained=keep_trained)
        else:
            grid.check_unused()
            result = _score_model(model, params, part, label_map, keep_trained=keep_trained)
    summary = report_unsent(result.unsent, params_file, overrides) + result.summary
    return replace(result, seconds=seconds, summary=summary)


def _score_model(
    model: str, params: RunParams, part: Part, label_map: str | None, *, keep_trained: bool
) -> EvaluateResult:
    saved = find_saved_model(model, params)
    with open_run(saved.params, f"{saved.folder} {part} {label_map} {keep_trained}") as run:
        corpus = gather_corpus(saved.params, run, "evaluation")
        check_quarantine(corpus, params.data.max_bad_fraction)
        clips = audit_test_corpus(corpus, saved.params, run, test_only=part == "test")
        selection = select_clips(clips, saved, run, part, label_map, keep_trained)
        data = PreparedData(selection.clips, corpus.store, saved.params, digest=corpus.digest)
        evaluation = evaluate_saved(saved, data, run)
        page = write_saved_page(evaluation, data, run, saved, selection)
        log_evaluation(run, saved, selection, evaluation)
        summary = publish_evaluation(run, saved, corpus, selection, evaluation, page)
    return EvaluateResult(
        run.run_id,
        str(saved.folder),
        evaluation.metrics,
        selection.num_clips,
        selection.left_out,
        str(evaluation.folder),
        {},
        tracking.unsent(run),
        summary,
    )


def _score_files(
    predictions: str, params: RunParams, part: Part, label_map: str | None, grid: GridOptions, *, keep_trained: bool
) -> EvaluateResult:
    if keep_trained:
        raise ParamsError("--keep-trained: predictions in files do not say what a model was trained on; leave it out.")
    with open_run(params, f"{predictions} {part} {label_map} {grid}") as run:
        manifest = ingest(params.data, params.workspace)
        filled = cache_waveforms(manifest, params.audio, params.workspace, params.runner)
        report = score_detections(predictions, manifest, filled, run, part, label_map, grid)
        summary = publish_detections(run, report, predictions, grid)
    return EvaluateResult(
        run.run_id, predictions, report.metrics, report.cells, report.left_out, str(report.folder), {},
        tracking.unsent(run), summary,
    )  # fmt: skip
