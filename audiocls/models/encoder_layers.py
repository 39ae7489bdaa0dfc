"""Selects the input of the head: the last encoder layer, another one, or a weighted sum of all.

The model is changed so that its own forward, and so the saved model, uses that layer: by transformers' weighted sum of
the hidden states with all weight on one layer. The audio spectrogram transformer has no such sum, so the layers above
are removed. Layer 0 is the input of the first layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of, num_layers
from audiocls.models.embeddings import pooled_embeddings
from audiocls.params import Family

Layer = int | Literal["last", "weighted"]

# exp(-_ALL) is 0 in every precision, so that softmax gives the other layers a weight of exactly 0.
_ALL: Final = 1.0e4
_MOST_ITERATIONS: Final = 100
_TRUNCATED: Final = "audio-spectrogram-transformer"
_GROWING: Final = ("logmel-resnet", "clap")


def layer_mistake(family: Family, layer: Layer) -> str | None:
    """Return why models of a family cannot have their head on a layer; None if they can."""
    if layer == "last":
        return None
    if family in _GROWING:
        return f"the layers of model.family={family} differ in width, and its head fits only the last; use last"
    if family == _TRUNCATED and layer == "weighted":
        return f"the classifier of model.family={family} cannot sum layers; use last, or a layer number"
    if family == _TRUNCATED and layer == 0:
        return f"model.family={family} mixes time and frequency only in its layers; use 1 or more"
    return None


def check_layer(model: PreTrainedModel, layer: Layer) -> None:
    """Check that the model's head can be on this layer.

    Raises:
        ParamsError: It cannot; the message says why, and how many layers there are.
    """
    mistake = layer_mistake(model.config.model_type.removesuffix("_audio_model"), layer)  # of clap
    if mistake is None and isinstance(layer, int) and layer > num_layers(model):
        mistake = f"this {model.config.model_type} has {num_layers(model)} layers"
    if mistake is not None:
        raise ParamsError(f"balance.layer = {layer}: {mistake}")


def choose_layer(model: PreTrainedModel, layer: int) -> None:
    """Put the head on one layer, in place; embeddings and logits are then from that layer.

    Raises:
        ParamsError: The model does not have the layer.
    """
    check_layer(model, layer)
    if model.config.model_type == _TRUNCATED:
        layers = encoder_of(model).layers
        assert isinstance(layers, nn.ModuleList)  # for mypy
        del layers[layer:]
        model.config.num_hidden_layers = layer
        return
    weigh_layers(model, _ALL * F.one_hot(torch.tensor(layer), num_layers(model) + 1).float())


def weigh_layers(model: PreTrainedModel, weights: Tensor) -> None:
    """Put the head on a sum of all layers, weighted by the softmax of `weights`, (layers + 1,), in place."""
    model.config.use_weighted_layer_sum = True
    model.layer_weights = nn.Parameter(weights.to(model.device), requires_grad=False)


@torch.no_grad()
def pooled_layers(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the head's input for each layer, shape (batch, layers + 1, dim), in one pass of the encoder.

    Args:
        model: A model of a family whose classifier can sum layers; it is restored afterwards.
        batch: As for `pooled_embeddings`.
    """
    had, config = getattr(model, "layer_weights", None), model.config.use_weighted_layer_sum
    pooled = []
    with _encoding_once(model):
        for layer in range(num_layers(model) + 1):
            choose_layer(model, layer)
            pooled.append(pooled_embeddings(model, batch))
    del model.layer_weights
    if had is not None:
        model.layer_weights = had
    model.config.use_weighted_layer_sum = config
    return torch.stack(pooled, dim=1)


@contextmanager
def _encoding_once(model: PreTrainedModel) -> Iterator[None]:
    """Make the encoder cache its first output."""
    encoder = encoder_of(model)
    forward = encoder.forward
    kept: list[Any] = []

    def kept_forward(*args: Any, **kwargs: Any) -> Any:
        if not kept:
            kept.append(forward(*args, **kwargs))
        return kept[0]

    encoder.forward = kept_forward
    try:
        yield
    finally:
        del encoder.forward


def learn_weights(
    layers: NDArray[np.float32], targets: NDArray[np.int64], num_classes: int, penalty: float, device: str
) -> Tensor:
    """Learn layer weights jointly with a linear head, by L-BFGS from equal weights.

    Args:
        layers: Output of `pooled_layers`, shape (num_clips, layers + 1, dim).
        targets: Class indices, shape (num_clips,).
        num_classes: Number of classes.
        penalty: L2 regularization: penalty / 2 * squared weights of the head is added to the summed loss.
        device: "cuda" or "cpu".

    Returns:
        Shape (layers + 1,); the softmax of these are the weights of the layers.

    Source:
        Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark", arXiv:2105.01051, section 3.
    """
    x, y = torch.tensor(layers, device=device), torch.tensor(targets, device=device)
    x = x - x.mean(0)
    scale = x.mean(1).std(0).clamp(min=1e-6)  # of the sum with equal weights
    head = torch.zeros(num_classes, x.shape[2], device=device, requires_grad=True)
    bias = torch.zeros(num_classes, device=device, requires_grad=True)
    worth = torch.zeros(x.shape[1], device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS([head, bias, worth], max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        summed = torch.einsum("nld,l->nd", x, torch.softmax(worth, 0)) / scale
        loss = F.cross_entropy(summed @ head.T + bias, y) + penalty / (2 * len(x)) * head.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return worth.detach().cpu()
