"""Optimizers, and the groups of parameters that share a learning rate and a weight decay."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import torch
from torch.nn import Parameter
from transformers import PreTrainedModel

from audiocls.models import parameter_depths
from audiocls.params import TrainingParams

# By Trainer's names; its own sgd has no momentum, so that one is set up here.
TRAINER_NAMES: Final = {
    "adamw": "adamw_torch_fused",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "rmsprop": "rmsprop",
    "adagrad": "adagrad",
}
SGD_MOMENTUM: Final = 0.9


def choose_optimizer(params: TrainingParams) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Name the optimizers that Trainer cannot set up as we want them."""
    if params.optimizer != "sgd":
        return None
    return torch.optim.SGD, {"lr": params.learning_rate, "momentum": SGD_MOMENTUM}


def parameter_groups(model: PreTrainedModel, params: TrainingParams) -> list[dict[str, Any]]:
    """Gather the trainable parameters by learning rate and weight decay, the deepest first.

    With `layer_decay` d, the layer k steps below the head learns at d ** k of `learning_rate` (Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146; as Clark et al. 2020 have it, https://arxiv.org/abs/2003.10555). Matrices and
    kernels decay; biases and norms do not.
    """
    depths = parameter_depths(model)
    head = max(depths.values())
    settings = {
        name: (_rate(head - depths[name], params), params.weight_decay if parameter.ndim >= 2 else 0.0)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    parameters = dict(model.named_parameters())
    # Trainer logs the rate of the first group: let it be the head's, which no decay has made smaller.
    names = sorted(settings, key=lambda name: (-depths[name], -settings[name][1]))
    return [
        _group([parameters[name] for name in members], *key) for key, members in groupby(names, settings.__getitem__)
    ]


def _rate(below_head: int, params: TrainingParams) -> float:
    if below_head == 0 and params.head_learning_rate is not None:
        return params.head_learning_rate
    return float(params.learning_rate * params.layer_decay**below_head)


def _group(parameters: list[Parameter], learning_rate: float, weight_decay: float) -> dict[str, Any]:
    return {"params": parameters, "lr": learning_rate, "weight_decay": weight_decay}
