"""What MLflow runs of a logged model: it loads this file as code, and nothing is unpickled.

`audiocls.registry.clip_tables` says what a table of clips and a table of answers are.
"""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from audiocls.inference import Classifier
from audiocls.registry.clip_tables import classify_table


class AudioClassifier(PythonModel):  # type: ignore[misc]
    """A Classifier behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's folder into the runtime and onto the device that the model config names."""
        self._config = context.model_config or {}
        self._classifier = Classifier.load(
            context.artifacts["model"],
            device=self._config.get("device", "auto"),
            runtime=self._config.get("runtime", "torch"),
        )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify the clip of each row."""
        read_paths = self._config.get("read_paths")
        if read_paths is None:
            read_paths = os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false").lower() != "true"
        threshold = float((params or {}).get("threshold", 0.0))
        return classify_table(self._classifier, model_input, threshold=threshold, read_paths=bool(read_paths))


set_model(AudioClassifier())
