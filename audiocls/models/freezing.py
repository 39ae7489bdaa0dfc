"""Freezes parts of a model and keeps them in evaluation mode."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of, lowest_layers, num_layers
from audiocls.params import ModelParams


def freeze(model: PreTrainedModel, params: ModelParams) -> None:
    """Freeze the parts of the model that the params name.

    Raises:
        ParamsError: The encoder has fewer layers, or nothing is left to train.
    """
    match params.freeze:
        case "feature_encoder":
            model.freeze_feature_encoder()
        case "encoder":
            encoder_of(model).requires_grad_(False)
    if params.freeze_layers is not None:
        _freeze_layers(model, params.freeze_layers)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ParamsError(f"model.freeze = {params.freeze} leaves nothing to train in {params.family}")
    quieten(frozen_modules(model))


def _freeze_layers(model: PreTrainedModel, layers: int) -> None:
    if layers > num_layers(model):
        raise ParamsError(
            f"model.freeze_layers = {layers}: this {model.config.model_type} has {num_layers(model)} layers; to train "
            "only the head, use model.freeze=encoder"
        )
    frozen = set(lowest_layers(model, layers))
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad = False


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Return the outermost modules without trainable weights."""
    weights = list(model.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        return [model]
    return [module for child in model.children() for module in frozen_modules(child)]


def quieten(modules: list[nn.Module]) -> None:
    """Put modules into evaluation mode: no dropout, no masked spans, and fixed statistics.

    Call it after Trainer puts the whole model into training mode, which happens before every step.
    """
    for module in modules:
        module.eval()
