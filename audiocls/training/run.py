"""One training: in this process, or in several where the params or torchrun's variables ask for them."""

from __future__ import annotations

import logging
from pathlib import Path

from audiocls.balance import Balanced
from audiocls.params import EmbeddingBalance
from audiocls.splits import PreparedData
from audiocls.training.distributed import fit_in_processes
from audiocls.training.fitting import fit_here
from audiocls.training.job import TrainingJob
from audiocls.training.machines import machines
from audiocls.training.resumption import last_checkpoint
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import MetricLog

logger = logging.getLogger(__name__)


def fit(data: PreparedData, balanced: Balanced, folder: Path, log: MetricLog) -> TrainedModel:
    """Train on the training split, keep the weights that did best on validation, and save them.

    Where `folder` holds checkpoints of the same training, cut short, it goes on from the last one.

    Args:
        data: The run's.
        balanced: Which of its clips to train on, and the weights of the classes in the loss.
        folder: Gets `model/`, with the model and its feature extractor, and `checkpoints/`.
        log: Receives `train/...` and `validation/...` metrics.
    """
    params = data.params
    inputs: dict[str, Path | str] = {
        "clips": data.split_clips, "rows": balanced.rows, "params": params.model_dump_json(),
    }  # fmt: skip
    checkpoint = last_checkpoint(folder / "checkpoints", inputs)
    if checkpoint:
        logger.info("Going on from %s.", checkpoint.name)
    job = TrainingJob(data, balanced, folder, checkpoint)
    alone = params.training.processes == 1 and machines().count == 1
    if alone or isinstance(params.balance, EmbeddingBalance):
        return fit_here(job, log)
    return fit_in_processes(job, log)
