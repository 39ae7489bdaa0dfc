"""The training job, which the processes of torchrun read from JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from audiocls.balance import Balanced
from audiocls.splits import PreparedData


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """The data to train on, and the folder of the model.

    Attributes:
        data: The run's.
        balanced: The clips to train on, and the class weights of the loss.
        folder: Gets `model/`, with the model and its feature extractor, and `checkpoints/`.
        checkpoint: The checkpoint to resume from; None starts from the beginning.
    """

    data: PreparedData
    balanced: Balanced
    folder: Path
    checkpoint: Path | None = None

    def to_json(self) -> str:
        """Return the job as JSON, for `from_json` in another process."""
        return json.dumps(TypeAdapter(TrainingJob).dump_python(self, mode="json"))

    @staticmethod
    def from_json(text: str) -> TrainingJob:
        """Read a job from the output of `to_json`."""
        return TypeAdapter(TrainingJob).validate_json(text)
