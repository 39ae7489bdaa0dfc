"""A linear head: trained on embeddings, and written back into the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import PreTrainedModel

from audiocls.errors import BalanceError
from audiocls.models import head_layers

_MOST_ITERATIONS = 200
# Gradient at which the fit stops: at 1e-5, one prediction in 70 still differs from the optimum.
_FLAT = 1e-6
# Singular values of float32 weights below this fraction of the largest are rounding errors.
_NO_RANK = 1e-9


@dataclass(frozen=True, slots=True)
class Scaling:
    """Standardization of embeddings to mean 0 and deviation 1 in every dimension."""

    mean: NDArray[np.float32]  # (dim,)
    deviation: NDArray[np.float32]  # (dim,), 1 where a dimension never varies

    @classmethod
    def of(cls, embeddings: NDArray[np.float32]) -> Scaling:
        """Measure the embeddings of the clips, (num_clips, dim), without copies and synthetic samples."""
        deviation = embeddings.std(axis=0)
        return cls(embeddings.mean(axis=0), np.where(deviation > 1e-6, deviation, 1).astype(np.float32))

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardize embeddings, (num_clips, dim)."""
        scaled: NDArray[np.float32] = (embeddings - self.mean) / self.deviation
        return scaled


@dataclass(frozen=True, slots=True)
class LinearHead:
    """logits = embeddings @ weight.T + bias."""

    weight: NDArray[np.float64]  # (num_classes, dim)
    bias: NDArray[np.float64]  # (num_classes,)

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits, (num_clips, num_classes), of embeddings, (num_clips, dim)."""
        return embeddings @ self.weight.T + self.bias

    def unscaled(self, scaling: Scaling) -> LinearHead:
        """Return the head for original embeddings that is equivalent to this one for standardized embeddings."""
        weight = self.weight / scaling.deviation
        return LinearHead(weight, self.bias - weight @ scaling.mean)


def train_head(
    embeddings: NDArray[np.float32],
    targets: NDArray[np.int64],
    num_classes: int,
    penalty: float,
    device: str,
    weights: NDArray[np.float32] | None = None,
) -> LinearHead:
    """Fit multinomial logistic regression by L-BFGS. The problem is convex, so the result is unique.

    Args:
        embeddings: Standardized, shape (num_rows, dim).
        targets: Class indices, shape (num_rows,).
        num_classes: Number of classes.
        penalty: `penalty / 2 * squared weights` is added to the summed loss; the bias is not penalized.
        device: "cuda" or "cpu".
        weights: Class weights of the loss, shape (num_classes,); None: all 1.
    """
    x = torch.tensor(embeddings, dtype=torch.float32, device=device)
    y = torch.tensor(targets, device=device)
    by_class = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    weight = torch.zeros(num_classes, x.shape[1], device=device, requires_grad=True)
    bias = torch.zeros(num_classes, device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_MOST_ITERATIONS, tolerance_grad=_FLAT, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = F.cross_entropy(x @ weight.T + bias, y, by_class, reduction="none")
        loss: torch.Tensor = losses.mean() + penalty / (2 * len(x)) * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return LinearHead(*(part.detach().cpu().double().numpy() for part in (weight, bias)))


@torch.no_grad()
def head_of(model: PreTrainedModel) -> LinearHead:
    """Return the head of a model as one linear layer; two consecutive ones are multiplied."""
    *before, classifier = head_layers(model)
    weight, bias = _numbers(classifier)
    for layer in before:
        inner, shift = _numbers(layer)
        weight, bias = weight @ inner, bias + weight @ shift
    return LinearHead(weight, bias)


def _numbers(layer: torch.nn.Linear) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return layer.weight.double().cpu().numpy(), layer.bias.double().cpu().numpy()


@torch.no_grad()
def write_head(model: PreTrainedModel, head: LinearHead) -> None:
    """Replace the model's head on its pooled embeddings.

    If the model has a linear projector, the head is factored into two layers by its singular values. This is exact if
    the projector is at least as wide as the number of classes.

    Raises:
        BalanceError: The projector is narrower than the head's rank.
    """
    *before, classifier = head_layers(model)
    parts = [head.weight]
    if before:
        parts = _factors(head.weight, before[0].out_features)
        before[0].bias.zero_()
    for layer, part in zip([*before, classifier], parts, strict=True):
        layer.weight.copy_(torch.from_numpy(part))
    classifier.bias.copy_(torch.from_numpy(head.bias))


def _factors(weight: NDArray[np.float64], width: int) -> list[NDArray[np.float64]]:
    """Return (width, dim) and (num_classes, width) whose product is (num_classes, dim)."""
    left, sizes, right = np.linalg.svd(weight, full_matrices=False)
    rank = int((sizes > _NO_RANK * sizes.max()).sum())
    if rank > width:
        raise BalanceError(
            f"model.config.classifier_proj_size = {width}: a head of {weight.shape[0]} classes on {weight.shape[1]} "
            f"dimensions needs more. Set it to {rank} or more."
        )
    root, rest = np.sqrt(sizes[:rank]), width - rank
    before, after = root[:, None] * right[:rank], left[:, :rank] * root
    return [np.pad(before, ((0, rest), (0, 0))), np.pad(after, ((0, 0), (0, rest)))]
