"""The depth of each parameter in a network, for layer-wise learning rates and for freezing the lowest layers."""

from __future__ import annotations

import re
from typing import Final

from torch import nn
from transformers import PreTrainedModel

# Directly below the encoder, so that data2vec's `encoder.pos_conv_embed.layers.0` is not taken for a transformer layer.
# SEW-D has a DeBERTa in its encoder: `encoder.encoder.layer.0`. In CLAP each stage is a layer.
_LAYER: Final = re.compile(r"(?:(?:audio_)?encoder\.){0,2}(?:layers|layer|blocks)\.(\d+)\.")
# Applied to the output of the last layer: the norms of AST and CLAP, SEW's upsampling, and the encoder's norm in
# pre-norm transformers. In others, `encoder.layer_norm` is below the first layer.
_ABOVE: Final = re.compile(r"layernorm\.|audio_encoder\.norm\.|encoder\.upsample\.")
_NORM: Final = re.compile(r"(?:encoder\.)?layer_norm\.")
_NORM_LAST: Final = ("whisper", "wav2vec2-conformer")


def encoder_of(model: PreTrainedModel) -> nn.Module:
    """Return everything before the head."""
    return model.get_submodule(_prefix(model))


def num_layers(model: PreTrainedModel) -> int:
    """Return the number of layers, or residual blocks, of the encoder."""
    return max(depth for depth in parameter_depths(model).values()) - 1


def parameter_depths(model: PreTrainedModel) -> dict[str, int]:
    """Return the depth of every parameter by name.

    Depth 0 is outside the encoder's layers: the front end, embeddings, norms. Layer i has depth i + 1. The head and the
    weights of a sum of layers have one more than the last layer.
    """
    inside = _inside(model)
    found = {name: _LAYER.match(rest) for name, rest in inside.items()}
    depths = {name: int(layer[1]) + 1 if layer else 0 for name, layer in found.items()}
    head = max(depths.values(), default=0) + 1
    return {name: depths.get(name, head) for name, _ in model.named_parameters()}


def lowest_layers(model: PreTrainedModel, layers: int) -> list[str]:
    """Return the names of the parameters of the lowest `layers` layers and of everything below them."""
    inside = _inside(model)
    depths = parameter_depths(model)
    return [name for name in inside if depths[name] <= layers and not (depths[name] == 0 and _is_above(model, name))]


def _is_above(model: PreTrainedModel, name: str) -> bool:
    rest = name.removeprefix(f"{_prefix(model)}.")
    norm_last = model.config.model_type in _NORM_LAST or getattr(model.config, "do_stable_layer_norm", False)
    return bool(_ABOVE.match(rest) or (norm_last and _NORM.match(rest)))


def _prefix(model: PreTrainedModel) -> str:
    """Return the encoder's name; Whisper's differs from its class's `base_model_prefix`."""
    prefix: str = model.base_model_prefix
    return prefix if hasattr(model, prefix) else "encoder"


def _inside(model: PreTrainedModel) -> dict[str, str]:
    """Map the names of the encoder's parameters to their names within the encoder."""
    prefix = f"{_prefix(model)}."
    return {name: name.removeprefix(prefix) for name, _ in model.named_parameters() if name.startswith(prefix)}
