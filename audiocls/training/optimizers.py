"""Optimizers, and parameter groups with a common learning rate and weight decay."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import torch
from torch.nn import Parameter
from transformers import PreTrainedModel

from audiocls.models import parameter_depths
from audiocls.params import TrainingParams

# Trainer's names. Its sgd has no momentum, so `choose_optimizer` sets that one up.
TRAINER_NAMES: Final = {
    "adamw": "adamw_torch_fused",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "rmsprop": "rmsprop",
    "adagrad": "adagrad",
}
SGD_MOMENTUM: Final = 0.9


def choose_optimizer(params: TrainingParams) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Return the class and the options of an optimizer that Trainer does not configure as needed, else None."""
    if params.optimizer != "sgd":
        return None
    return torch.optim.SGD, {"lr": params.learning_rate, "momentum": SGD_MOMENTUM}


def parameter_groups(model: PreTrainedModel, params: TrainingParams) -> list[dict[str, Any]]:
    """Group the trainable parameters by learning rate and weight decay, the deepest first.

    With `layer_decay` d, the layer k steps below the head has the learning rate `learning_rate * d ** k` (Howard and
    Ruder 2018, https://arxiv.org/abs/1801.06146; in the form of Clark et al. 2020, https://arxiv.org/abs/2003.10555).
    Weight decay applies to matrices and kernels, not to biases and norms.
    """
    depths = parameter_depths(model)
    head = max(depths.values())
    settings = {
        name: (_rate(head - depths[name], params), params.weight_decay if parameter.ndim >= 2 else 0.0)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    parameters = dict(model.named_parameters())
    # Trainer logs the learning rate of the first group: the head's, which layer decay does not lower.
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
