"""Train in this process, or in several if the params or torchrun's variables request it."""

from __future__ import annotations

import logging
from pathlib import Path

from audiocls.balance import Balanced
from audiocls.params import EmbeddingBalance
from audiocls.splits import PreparedData
from audiocls.training.distributed import fit_in_processes
from audiocls.training.fitting import fit_here
from audiocls.training.history import keeping_history
from audiocls.training.job import TrainingJob
from audiocls.training.machines import machines
from audiocls.training.resumption import last_checkpoint
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import MetricLog

logger = logging.getLogger(__name__)


def fit(data: PreparedData, balanced: Balanced, folder: Path, log: MetricLog) -> TrainedModel:
    """Train on the training split, and save the weights that are best on validation.

    Resumes from the last checkpoint if `folder` has checkpoints of the same training.

    Args:
        data: The run's.
        balanced: The clips to train on, and the class weights of the loss.
        folder: Gets `model/`, with the model and its feature extractor, `checkpoints/` and `history.jsonl`.
        log: Receives `train/...` and `validation/...` metrics.
    """
    params = data.params
    inputs: dict[str, Path | str] = {
        "clips": data.split_clips, "rows": balanced.rows, "params": params.model_dump_json(),
    }  # fmt: skip
    checkpoint = last_checkpoint(folder / "checkpoints", inputs)
    if checkpoint:
        logger.info("Resuming from %s.", checkpoint.name)
    job = TrainingJob(data, balanced, folder, checkpoint)
    log = keeping_history(folder, log, resumed=checkpoint is not None)
    alone = params.training.processes == 1 and machines().count == 1
    if alone or isinstance(params.balance, EmbeddingBalance):
        return fit_here(job, log)
    return fit_in_processes(job, log)
