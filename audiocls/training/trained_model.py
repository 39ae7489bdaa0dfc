"""The result of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A folder that `from_pretrained` loads, and facts about its training."""

    folder: Path
    num_parameters: int
    num_trainable: int
    steps: int
    epochs: float
    best_step: int
    device: str
    precision: str
