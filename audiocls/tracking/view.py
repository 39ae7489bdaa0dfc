"""The table and the charts of an experiment's runs in MLflow's UI, which shows no metric until columns are chosen.

The UI reads a shared view from a tag of the experiment: its columns, its order and its charts. A link names the view.
The UI adds charts of all other metrics below ours, in a section for each namespace.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from audiocls.tracking.run import VIEW

_MOST_BARS: Final = 20
_LINE: Final = {
    "runsCountToCompare": 10, "lineSmoothness": 0, "xAxisKey": "step", "xAxisScaleType": "linear",
    "scaleType": "linear", "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False,
    "useGlobalXaxisKey": False, "selectedXAxisMetricKey": "", "range": {},
}  # fmt: skip
_PARAMS: Final = ("model.family", "balance.method", "training.epochs", "training.learning_rate", "seed")


def share_view(client: MlflowClient, experiment_id: str, score: str) -> None:
    """Set the view of an experiment.

    Args:
        client: Of the store.
        experiment_id: Of the experiment.
        score: The metric that runs are sorted by, without its split, such as "f1_macro".
    """
    state = json.dumps(_view(score), separators=(",", ":"))
    key = f"mlflow.sharedViewState.{VIEW}"
    if client.get_experiment(experiment_id).tags.get(key) == state:
        return
    try:
        client.set_experiment_tag(experiment_id, key, state)
    except MlflowException:
        client.set_experiment_tag(experiment_id, key, state)  # Another run inserted it in the meantime.


def _view(score: str) -> dict[str, Any]:
    of_test = [f"test/{name}" for name in dict.fromkeys((score, "f1_macro", "accuracy"))]
    metrics = [f"metrics.`{name}`" for name in (*of_test, f"validation/{score}")]
    return {
        "selectedColumns": [*metrics, "tags.`data.confounds`", *(f"params.`{name}`" for name in _PARAMS)],
        "orderByKey": f"metrics.`test/{score}`",
        "orderByAsc": score == "loss",
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsPinned": [],
        "runsHidden": [],
        "runsExpanded": {},
        "groupBy": None,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else the UI sorts the sections by name
        "hideEmptyCharts": True,
        "compareRunSections": [_section("Scores")],
        "compareRunCharts": _charts(score),
    }


def _section(name: str) -> dict[str, Any]:
    return {
        "uuid": name, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": False,
    }  # fmt: skip


def _charts(score: str) -> list[dict[str, Any]]:
    """Return the charts of the section "Scores": bars of test, and curves of validation and of the losses."""
    bars = [f"test/{name}" for name in dict.fromkeys((score, "f1_macro", "accuracy"))]
    curves = [(f"validation/{score}", [f"validation/{score}"]), ("Loss", ["train/loss", "validation/loss"])]
    return [
        *(_chart("BAR", name, {"metricKey": name, "runsCountToCompare": _MOST_BARS}) for name in bars),
        *(_chart("LINE", name, _LINE | {"metricKey": keys[0], "selectedMetricKeys": keys}) for name, keys in curves),
    ]


def _chart(kind: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    own = {"type": kind, "uuid": name, "displayName": name, "metricSectionId": "Scores"}
    return own | {"deleted": False, "isGenerated": False} | settings
