"""Pooled embeddings: what stands before the head of a model, one vector a clip, and the head by itself.

The head is what is linear behind the pooling. In the families of wav2vec2 and in Whisper that is the projector and the
classifier, as the projector, which transformers applies to every frame, commutes with the mean over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def head_layers(model: PreTrainedModel) -> list[nn.Linear]:
    """Return the linear layers of the head in the order in which they are applied."""
    classifier = getattr(model.classifier, "dense", model.classifier)  # AST: a norm, then a linear layer
    projector = getattr(model, "projector", None)
    return [classifier] if projector is None else [projector, classifier]


@torch.no_grad()
def pooled_embeddings(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the input of the head, shape (batch, dim), as the model makes it in evaluation.

    Args:
        model: Any of the families; it is left in the mode it was in.
        batch: The model's inputs as `Collator` makes them, on the model's device; `labels` are not looked at.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with _evaluating(model), ExitStack() as hooks:
        for layer in head_layers(model):
            hooks.enter_context(_passing_through(layer))
        embeddings: Tensor = model(**inputs).logits
    return embeddings


def apply_head(model: PreTrainedModel, embeddings: Tensor) -> Tensor:
    """Return the logits, shape (batch, num_classes), of embeddings of shape (batch, dim); gradients reach the head."""
    for layer in head_layers(model):
        embeddings = layer(embeddings)
    return embeddings


@contextmanager
def _passing_through(layer: nn.Module) -> Iterator[None]:
    """Let a layer return its input, so that the model's own code does the pooling, its masks and all."""
    # The forward of the instance, and not a hook: the classifier would first be given what the projector was given.
    layer.forward = lambda inputs: inputs
    try:
        yield
    finally:
        del layer.forward


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each of its modules back into its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
