"""The job of a training, which the processes of torchrun read from JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from audiocls.balance import Balanced
from audiocls.splits import PreparedData


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What is trained on what, and where the model goes.

    Attributes:
        data: The run's.
        balanced: Which of its clips to train on, and the weights of the classes in the loss.
        folder: Gets `model/`, with the model and its feature extractor, and `checkpoints/`.
        checkpoint: Where to go on from; None starts from the beginning.
    """

    data: PreparedData
    balanced: Balanced
    folder: Path
    checkpoint: Path | None = None

    def to_json(self) -> str:
        """Return the job as JSON, for `from_json` of another process."""
        return json.dumps(TypeAdapter(TrainingJob).dump_python(self, mode="json"))

    @staticmethod
    def from_json(text: str) -> TrainingJob:
        """Read what `to_json` returned."""
        return TypeAdapter(TrainingJob).validate_json(text)
