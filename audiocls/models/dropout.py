"""Fast dropout on a CPU: 16 random bits decide whether a value is kept. torch's own draws numbers one by one.

Each mask is seeded with one number of torch's generator, so a training that is resumed with the generator's state draws
the same masks. The dropout probability is rounded to a multiple of 1/65,536. The kept values are scaled accordingly, so
that the mean does not change.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask

ATTENTION: Final = "sdpa_with_quick_dropout"
_STEPS: Final = 2**16


class QuickDropout(nn.Dropout):
    """`nn.Dropout` with faster draws from the same distribution."""

    def forward(self, values: Tensor) -> Tensor:
        """Drop values and scale the others; in evaluation, return the values unchanged."""
        return drop(values, self.p) if self.training else values


def use_quick_dropout(model: PreTrainedModel) -> None:
    """Use `drop` in the dropout layers and the attention of a model that is trained on the CPU."""
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace:
            module.__class__ = QuickDropout
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = ATTENTION


def drop(values: Tensor, probability: float) -> Tensor:
    """Zero each value with a probability, and scale the others so that the mean does not change.

    Args:
        values: Of any shape, on the CPU.
        probability: In [0, 1].
    """
    steps = round(probability * _STEPS)
    if steps in (0, _STEPS):
        return values if steps == 0 else values * 0.0
    seed = int(torch.empty((), dtype=torch.int64).random_())
    drawn = np.random.Generator(np.random.SFC64(seed)).bytes(2 * values.numel())
    kept = torch.frombuffer(bytearray(drawn), dtype=torch.int16).view(values.shape) >= steps - _STEPS // 2
    return values * kept.to(values.dtype).mul_(_STEPS / (_STEPS - steps))


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention as transformers' `sdpa`; query, key and value are (batch, heads, length, dim).

    Without dropout, that function is called. With dropout, this computes the same product as that function on the CPU.
    """
    if dropout == 0.0:
        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return attended
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(-1), dropout)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)
