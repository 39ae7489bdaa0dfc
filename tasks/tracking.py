"""Log a run's inputs and results in MLflow, and link to them from Prefect."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from prefect import task
from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.settings import PREFECT_UI_URL

from audiocls import (
    audit,
    balance,
    batches,
    comparison,
    diagnosis,
    evaluation,
    registry,
    splits,
    tracking,
    training,
    waveforms,
)
from audiocls.errors import name_some
from audiocls.files import as_csv
from audiocls.markdown import escaped
from audiocls.params import RunParams
from audiocls.splits import PreparedData
from audiocls.stopwatch import stage, timed
from tasks.retries import unless_mistaken


@contextmanager
def open_run(params: RunParams, of: str = "") -> Iterator[tracking.TrackedRun]:
    """Open the MLflow run of this flow run, and link each to the other.

    Args:
        params: Of the run.
        of: What the flow works on beside the params; an unfinished run of the same is resumed.
    """
    tags = {
        "prefect.flow_name": str(flow_run.flow_name),
        "prefect.flow_run_id": str(flow_run.id),
        "prefect.flow_run_name": str(flow_run.name),
    }
    if PREFECT_UI_URL.value():  # unset with the embedded server, which has no UI
        tags["prefect.flow_run_url"] = str(flow_run.ui_url)
    with ExitStack() as opened:
        with stage("open_run"):
            command = f"{flow_run.flow_name}{of}"
            run = opened.enter_context(tracking.tracked_run(params, str(flow_run.name), tags, command))
            if run.url:
                create_link_artifact(key="mlflow-run", link=run.url, link_text="The MLflow run")
        yield run


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_corpus(run: tracking.TrackedRun, corpus: waveforms.Corpus, context: str) -> None:
    """Log the digest of the data and the quarantine table, before any check can stop the run."""
    counts = {"clips": corpus.num_clips, "quarantined": corpus.num_quarantined}
    tracking.log_dataset(run, corpus.clips, "clips", corpus.digest, counts, context)
    tracking.log_tags(run, {f"data.{name}": str(count) for name, count in counts.items()})
    tracking.log_artifacts(run, corpus.quarantine, "data")
    tracking.log_artifacts(run, as_csv(corpus.quarantine, run.folder / "data"), "data")
    tracking.log_artifacts(run, corpus.counts, "data")
    lost = waveforms.read_counts(corpus.counts).lost_classes
    if lost:
        tracking.log_tags(run, {"data.lost_classes": name_some(lost)})


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_counts(run: tracking.TrackedRun, corpus: waveforms.Corpus, split_clips: Path) -> None:
    """Compare the splits with the usable clips; log the listed clips, the usable ones and those of each split."""
    counts = waveforms.read_counts(corpus.counts)
    in_splits = waveforms.count_splits(counts, split_clips)
    path = waveforms.write_counts(counts, run.folder / "data" / "counts.json", in_splits)
    tracking.log_artifacts(run, path, "data")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_splits(run: tracking.TrackedRun, split_clips: Path) -> None:
    """Log the splits as datasets, the clips that were dropped from them, and their number."""
    for content in splits.split_contents(split_clips):
        tracking.log_split_dataset(run, split_clips, content.split, content.digest, content.clips)
    tracking.log_tags(run, {"data.dropped": str(len(splits.read_dropped(split_clips)))})
    dropped = splits.dropped_beside(split_clips)
    tracking.log_artifacts(run, dropped, "data")
    tracking.log_artifacts(run, as_csv(dropped, run.folder / "data"), "data")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_audit(run: tracking.TrackedRun, report: audit.AuditReport, *, describe: bool = False) -> str:
    """Log the audit's pages and verdict, and optionally the run's description; return the audit as Markdown."""
    tracking.log_artifacts(run, report.html, "data")
    tracking.log_artifacts(run, report.json, "data")
    confounds = audit.read_doubts(report.json).confounds
    tracking.log_tags(run, {"data.verdict": report.verdict, "data.confounds": "; ".join(confounds) or "none"})
    markdown = audit.audit_markdown(report)
    if describe:
        tracking.describe_run(run, markdown)
    return markdown


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_balance(run: tracking.TrackedRun, balanced: balance.Balanced) -> None:
    """Log the class counts before and after, as tables and as a plot, and how often each clip is used."""
    from audiocls.plots import draw_class_counts  # imported late: it loads matplotlib

    tracking.log_json(run, {k: v for k, v in asdict(balanced).items() if k != "rows"}, "data/class_counts.json")
    tracking.log_artifacts(run, balance.write_class_counts(balanced, run.folder / "data" / "class_counts.csv"), "data")
    picture = draw_class_counts(balanced.counts_before, balanced.counts_after, run.folder / "class_counts.png")
    tracking.log_artifacts(run, picture, "data")
    tracking.log_artifacts(run, balanced.rows, "data/balance")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_augmentation(run: tracking.TrackedRun, data: PreparedData) -> None:
    """Log a plot of augmented training clips, if there are transforms."""
    if data.params.augmentation:
        picture = batches.draw_augmented(data, run.folder / "augmentation.png")
        tracking.log_artifacts(run, picture, "data")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_results(
    run: tracking.TrackedRun, model: training.TrainedModel, evaluated: evaluation.Evaluation, score: str
) -> None:
    """Log the model with its card and test metrics, `score` among the first, the test report and what was trained."""
    facts = {name: value for name, value in asdict(model).items() if name != "folder"}
    tracking.log_tags(run, {f"model.{name}": str(value) for name, value in facts.items()})
    of_data = run.folder / "data"
    evaluation.write_card(model, evaluated, of_data / "counts.json", of_data / "audit.json")
    compared = evaluation.top_level(evaluated.metrics, score)
    registry.log_model(run, model.folder, compared, model.steps)
    # Without a step, MLflow draws bars, and not a point at a step.
    others = evaluation.headline_first(evaluated.metrics, score)
    tracking.log_metrics(run, {name: value for name, value in others.items() if name not in compared})
    tracking.log_artifacts(run, evaluated.folder, "evaluation")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_diagnosis(run: tracking.TrackedRun, found: diagnosis.Diagnosis) -> None:
    """Log the findings as JSON, and as tags by which runs can be filtered."""
    tracking.log_json(run, found.described(), "diagnosis/findings.json")
    tracking.log_tags(run, found.tags)


@task(cache_policy=NO_CACHE)
def publish_summary(
    run: tracking.TrackedRun,
    corpus: waveforms.Corpus,
    split_clips: Path,
    balanced: balance.Balanced,
    model: training.TrainedModel,
    evaluated: evaluation.Evaluation,
    page: Path,
    diagnosed: diagnosis.Diagnosis,
) -> str:
    """Show the result on the pages of the flow run and the MLflow run; return it as Markdown."""
    result = evaluation.result_line(model.folder, evaluated, run.folder / "data" / "audit.json")
    details = evaluation.summarise(run, corpus, split_clips, balanced, model, evaluated)
    summary = f"{result}\n\nReport page: `{page}`\n\n{details}\n\n{diagnosed.short}"
    tracking.describe_run(run, summary)
    create_markdown_artifact(key="train-summary", markdown=summary)
    return summary


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_comparison(run: tracking.TrackedRun, compared: comparison.Comparison, params: RunParams) -> None:
    """Log the table, the plot and the params of the best method, and a nested run per method and seed."""
    tracking.log_nested_runs(run, comparison.nested_runs(compared, params))
    tracking.log_metrics(run, compared.metrics)
    tracking.log_tags(run, {"balance.verdict": compared.verdict, "balance.method_to_take": compared.method})
    tracking.log_artifacts(run, compared.folder, "comparison")


@task(cache_policy=NO_CACHE)
def publish_comparison(run: tracking.TrackedRun, compared: comparison.Comparison, corpus: waveforms.Corpus) -> str:
    """Show the table on the pages of the flow run and the MLflow run, and the plot on the former; return the text."""
    lost = waveforms.lost_summary(waveforms.read_counts(corpus.counts))
    summary = "\n\n".join([*([f"**{escaped(lost)}.**"] if lost else []), compared.summary])
    tracking.describe_run(run, summary)
    create_markdown_artifact(key="balance-comparison", markdown=summary)
    picture = base64.b64encode((compared.folder / "gains.png").read_bytes()).decode()
    create_image_artifact(key="balance-gains", image_url=f"data:image/png;base64,{picture}")
    return summary


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def log_evaluation(
    run: tracking.TrackedRun,
    model: evaluation.SavedModel,
    selection: evaluation.Selection,
    evaluated: evaluation.Evaluation,
) -> None:
    """Log the metrics and the report of a saved model on another corpus, with a link to the run that trained it."""
    tags = {"kind": "evaluate", "evaluated.model": model.asked}
    if model.run_id is not None:
        tags["evaluated.run_id"] = model.run_id
    tracking.log_tags(run, tags)
    metrics = evaluation.headline_first(evaluated.metrics) | {
        f"data/{name}": float(clips) for name, clips in selection.left_out.items()
    }
    tracking.log_metrics(run, metrics)
    tracking.log_artifacts(run, evaluated.folder, "evaluation")


@task(cache_policy=NO_CACHE)
def publish_evaluation(
    run: tracking.TrackedRun,
    model: evaluation.SavedModel,
    corpus: waveforms.Corpus,
    selection: evaluation.Selection,
    evaluated: evaluation.Evaluation,
    page: Path,
) -> str:
    """Show the result on the pages of the flow run and the MLflow run; return it as Markdown."""
    summary = evaluation.summarise_model(run, model, corpus, selection, evaluated, page)
    tracking.describe_run(run, summary)
    create_markdown_artifact(key="evaluation-summary", markdown=summary)
    return summary


@task(cache_policy=NO_CACHE)
def publish_detections(
    run: tracking.TrackedRun, report: evaluation.GridReport, predictions: str, options: evaluation.GridOptions
) -> str:
    """Log the scores of predictions in files, and show them on the pages of both runs; return them as Markdown."""
    tracking.log_tags(run, {"kind": "evaluate", "evaluated.predictions": predictions})
    tracking.log_metrics(run, evaluation.headline_first(report.metrics))
    tracking.log_artifacts(run, report.folder, "evaluation")
    summary = evaluation.summarise_detections(report, predictions, options)
    tracking.describe_run(run, summary)
    create_markdown_artifact(key="evaluation-summary", markdown=summary)
    return summary
