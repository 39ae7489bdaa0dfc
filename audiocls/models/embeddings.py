"""Pooled embeddings, the input of a model's head with one vector per clip, and the head by itself.

The head consists of the linear layers after pooling. In the wav2vec2 families and in Whisper these are the projector
and the classifier: transformers applies the projector to every frame, which commutes with the mean over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def head_layers(model: PreTrainedModel) -> list[nn.Linear]:
    """Return the linear layers of the head, in the order of application."""
    classifier = getattr(model.classifier, "dense", model.classifier)  # AST: a norm, then a linear layer
    projector = getattr(model, "projector", None)
    return [classifier] if projector is None else [projector, classifier]


@torch.no_grad()
def pooled_embeddings(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the input of the head in evaluation mode, shape (batch, dim).

    Args:
        model: A model of any family; its mode is restored afterwards.
        batch: The model's inputs from `Collator`, on the model's device; `labels` are ignored.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with _evaluating(model), ExitStack() as hooks:
        for layer in head_layers(model):
            hooks.enter_context(_passing_through(layer))
        embeddings: Tensor = model(**inputs).logits
    return embeddings


def apply_head(model: PreTrainedModel, embeddings: Tensor) -> Tensor:
    """Compute logits, shape (batch, num_classes), from embeddings, shape (batch, dim), with gradients for the head."""
    for layer in head_layers(model):
        embeddings = layer(embeddings)
    return embeddings


@contextmanager
def _passing_through(layer: nn.Module) -> Iterator[None]:
    """Make a layer return its input, so that the model's own code does the pooling with its masks."""
    # Replaces the forward of the instance. With a hook, the classifier would get the projector's input.
    layer.forward = lambda inputs: inputs
    try:
        yield
    finally:
        del layer.forward


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
