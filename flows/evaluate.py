"""Evaluate a saved model on a labelled corpus: `audiocls evaluate MODEL PARAMS.yaml [key.path=value ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["evaluate", *sys.argv[1:]]))

from prefect import flow

from audiocls import tracking
from audiocls.evaluation import Part
from audiocls.params_file import load_params
from audiocls.splits import PreparedData
from audiocls.stopwatch import stopwatch
from flows.preparation import gather_corpus, split_corpus
from flows.runs import name_run, report_unsent
from tasks.corpus import check_quarantine
from tasks.evaluation import evaluate_saved, find_saved_model, select_clips
from tasks.tracking import log_evaluation, open_run, publish_evaluation


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


@flow(name="evaluate-flow", flow_run_name=name_run)
def evaluate_flow(
    model: str,
    params_file: str,
    overrides: tuple[str, ...] = (),
    part: Part = "all",
    label_map: str | None = None,
    keep_trained: bool = False,
) -> EvaluateResult:
    """Score a saved model, as it is, on the labelled clips of a corpus that did not train it."""
    params = load_params(params_file, overrides)
    with stopwatch() as seconds:
        saved = find_saved_model(model, params)
        with open_run(saved.params, f"{saved.folder} {part} {label_map} {keep_trained}") as run:
            corpus = gather_corpus(saved.params, run, "evaluation")
            check_quarantine(corpus, params.data.max_bad_fraction)
            clips = split_corpus(corpus, saved.params) if part == "test" else corpus.clips
            selection = select_clips(clips, saved, run, part, label_map, keep_trained)
            data = PreparedData(selection.clips, corpus.store, saved.params, digest=corpus.digest)
            evaluation = evaluate_saved(saved, data, run)
            log_evaluation(run, saved, selection, evaluation)
            summary = publish_evaluation(run, saved, corpus, selection, evaluation)
    unsent = tracking.unsent(run)
    return EvaluateResult(
        run.run_id,
        str(saved.folder),
        evaluation.metrics,
        selection.num_clips,
        selection.left_out,
        str(evaluation.folder),
        seconds,
        unsent,
        report_unsent(unsent, params_file, overrides) + summary,
    )
