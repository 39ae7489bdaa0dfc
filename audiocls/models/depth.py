"""Which parameter stands how deep in a network: for layer-wise learning rates, and to freeze the lowest layers."""

from __future__ import annotations

import re
from typing import Final

from transformers import PreTrainedModel

# Directly below the encoder, so that data2vec's `encoder.pos_conv_embed.layers.0` is no layer of the transformer.
_LAYER: Final = re.compile(r"(?:encoder\.)?(?:layers|blocks)\.(\d+)\.")


def num_layers(model: PreTrainedModel) -> int:
    """Return how many layers, or residual blocks, the encoder has."""
    return max(depth for depth in parameter_depths(model).values()) - 1


def parameter_depths(model: PreTrainedModel) -> dict[str, int]:
    """Return the depth of every parameter by name.

    0 is what stands outside the encoder's layers: the front end, embeddings, norms. Layer i has depth i + 1, and the
    head, with what weighs the layers for it, one more than the last layer.
    """
    prefix = f"{model.base_model_prefix}."
    inside = {name: name.removeprefix(prefix) for name, _ in model.named_parameters() if name.startswith(prefix)}
    found = {name: _LAYER.match(rest) for name, rest in inside.items()}
    depths = {name: int(layer[1]) + 1 if layer else 0 for name, layer in found.items()}
    head = max(depths.values(), default=0) + 1
    return {name: depths.get(name, head) for name, _ in model.named_parameters()}
