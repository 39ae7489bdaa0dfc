"""Score the trained model, and saved ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import evaluation, tracking, training, waveforms
from audiocls.params import RunParams
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed

logger = logging.getLogger("audiocls.evaluation")


@task(cache_policy=NO_CACHE)
@timed
def evaluate(model: training.TrainedModel, data: PreparedData, run: tracking.TrackedRun) -> evaluation.Evaluation:
    """Score the saved model on validation and, once, on test."""
    return evaluation.evaluate(model.folder, data, run.folder / "evaluation")


@task(cache_policy=NO_CACHE)
@timed
def write_page(
    evaluated: evaluation.Evaluation,
    data: PreparedData,
    run: tracking.TrackedRun,
    findings: Sequence[evaluation.Finding] = (),
) -> Path:
    """Write the report page of the evaluation, with the audit's verdict beside the score and findings on top."""
    params = data.params
    evaluation.write_learning_curves(run.folder / "checkpoints", evaluated.folder)
    facts = {
        "run": run.run_id,
        "model": params.model.family,
        "balance": params.balance.method,
        "seed": str(params.seed),
    }
    context = evaluation.PageContext(params.experiment, facts, run.folder / "data" / "audit.json", findings)
    return evaluation.write_page(evaluated, data, context)


@task(cache_policy=NO_CACHE)
@timed
def find_saved_model(model: str, params: RunParams) -> evaluation.SavedModel:
    """Find a saved model, and take its preprocessing."""
    return evaluation.find_saved_model(model, params)


@task(cache_policy=NO_CACHE)
@timed
def select_clips(
    clips: Path,
    model: evaluation.SavedModel,
    run: tracking.TrackedRun,
    part: evaluation.Part,
    label_map: str | None,
    keep_trained: bool,
) -> evaluation.Selection:
    """Leave out the clips that trained the model, and those with labels that it does not know."""
    names = None if label_map is None else evaluation.read_label_map(Path(label_map))
    selection = evaluation.select_clips(
        clips, model, run.folder / "evaluation", part=part, names=names, keep_trained=keep_trained
    )
    for sentence in selection.sentences():
        logger.warning(sentence)
    return selection


@task(cache_policy=NO_CACHE)
@timed
def evaluate_saved(model: evaluation.SavedModel, data: PreparedData, run: tracking.TrackedRun) -> evaluation.Evaluation:
    """Score a saved model as it is; nothing is chosen or fitted."""
    return evaluation.evaluate(model.folder, data, run.folder / "evaluation", model.settings)


@task(cache_policy=NO_CACHE)
@timed
def write_saved_page(
    evaluated: evaluation.Evaluation,
    data: PreparedData,
    run: tracking.TrackedRun,
    model: evaluation.SavedModel,
    selection: evaluation.Selection,
) -> Path:
    """Write the report page of a saved model, with the audit's verdict on the corpus, and what was left out on top."""
    facts = {"run": run.run_id, "model": model.asked}
    audit = run.folder / "data" / "audit.json"
    context = evaluation.PageContext(data.params.experiment, facts, audit, selection.remarks())
    return evaluation.write_page(evaluated, data, context)


@task(cache_policy=NO_CACHE)
@timed
def score_detections(
    predictions: str,
    manifest: Path,
    plan: waveforms.StorePlan,
    run: tracking.TrackedRun,
    part: evaluation.Part,
    label_map: str | None,
    options: evaluation.GridOptions,
) -> evaluation.GridReport:
    """Score predictions in files against the annotations of a corpus, on a time grid."""
    names = None if label_map is None else evaluation.read_label_map(Path(label_map))
    recordings = evaluation.read_annotations(manifest, plan, names, test_only=part == "test")
    paths = [each.path for each in recordings]
    found = evaluation.read_detections(Path(predictions), paths, options.label_column)
    report = evaluation.score_detections(recordings, found, run.folder / "evaluation", options)
    for note in report.notes:
        logger.warning(note)
    return report
