"""Classify recordings in shards on one of Prefect's task runners: `audiocls predict ... --runner process`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from audiocls.inference import (
    LabelFormat,
    PartParams,
    PredictParams,
    PredictSummary,
    RuntimeKind,
    TableParams,
    check_output,
    locked_journal,
)
from audiocls.params import RunnerParams
from flows.server import begin_server, wait_for_server
from tasks.prediction import plan_predictions, score_shards, write_predictions


@flow(name="predict-flow")
def predict_flow(
    models: list[str],
    files: list[str],
    out: str,
    top: int = 1,
    threshold: float | None = None,
    path_column: str = "path",
    device: str = "auto",
    runner: RunnerParams | None = None,
    runtime: RuntimeKind = "torch",
    parts: PartParams | None = None,
    label_format: LabelFormat | None = None,
) -> PredictSummary:
    """Classify files with a model, or the mean of several, or find their segments, and write the answers."""
    params = PredictParams(tuple(models), device, runtimes=(runtime,), parts=parts)
    table, target = TableParams(top, threshold, label_format), Path(out).absolute()
    check_output(target, table)
    with locked_journal(target):
        plan = plan_predictions(files, path_column, params, target)
        score_shards(plan, runner or RunnerParams())
        return write_predictions(plan, table)


def run_predict_flow(
    params: PredictParams,
    files: Sequence[str],
    out: str,
    table: TableParams,
    path_column: str,
    runner: str,
    address: str | None,
    workers: int | None,
) -> PredictSummary:
    """Run the flow for the command line, with a Prefect server that is started if none is there."""
    wait_for_server(begin_server())
    where = RunnerParams.model_validate({"kind": runner, "address": address, "workers": workers})
    return predict_flow(
        list(params.models), list(files), out, table.top, table.threshold, path_column, params.device, where,
        params.runtimes[0], params.parts, table.label_format,
    )  # fmt: skip
