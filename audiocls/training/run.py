"""One training: in this process, or in several where the params or torchrun's variables ask for them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from audiocls.balance import Balanced
from audiocls.params import EmbeddingBalance, RunParams
from audiocls.training.distributed import fit_in_processes
from audiocls.training.fitting import fit_here
from audiocls.training.machines import machines
from audiocls.training.resumption import last_checkpoint
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import MetricLog

logger = logging.getLogger(__name__)


def fit(
    split_clips: Path,
    balanced: Balanced,
    store: Path,
    params: RunParams,
    folder: Path,
    log: MetricLog,
    features: Path | None = None,
) -> TrainedModel:
    """Train on the training split, keep the weights that did best on validation, and save them.

    Where `folder` holds checkpoints of the same training, cut short, it goes on from the last one.

    Args:
        split_clips: The clips table with its splits.
        balanced: Which of its rows to train on, and the weights of the classes in the loss.
        store: The waveform store.
        params: The whole run's.
        folder: Gets `model/`, with the model and its feature extractor, and `checkpoints/`.
        log: Receives `train/...` and `validation/...` metrics.
        features: The feature store, where there is one; the training is the same without it, and slower.
    """
    inputs: dict[str, Path | str] = {"clips": split_clips, "rows": balanced.rows, "params": params.model_dump_json()}
    checkpoint = last_checkpoint(folder / "checkpoints", inputs)
    if checkpoint:
        logger.info("Going on from %s.", checkpoint.name)
    job: dict[str, Any] = {
        "split_clips": split_clips, "balanced": balanced, "store": store, "params": params, "folder": folder,
        "features": features, "checkpoint": checkpoint,
    }  # fmt: skip
    alone = params.training.processes == 1 and machines().count == 1
    if alone or isinstance(params.balance, EmbeddingBalance):
        return fit_here(log=log, **job)
    return fit_in_processes(log, **job)
