"""The table of an experiment's runs in MLflow's UI, which shows no metric until columns are chosen.

The UI reads a shared view from a tag of the experiment: its columns and its order. A link names the view.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from audiocls.tracking.run import VIEW

_SPLITS: Final = ("test", "validation")
_PARAMS: Final = ("model.family", "balance.method", "training.epochs", "seed")


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
    names = dict.fromkeys((score, "f1_macro", "accuracy"))
    metrics = [f"metrics.`{split}/{name}`" for split in _SPLITS for name in names]
    return {
        "selectedColumns": [*metrics, *(f"params.`{name}`" for name in _PARAMS)],
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
    }
