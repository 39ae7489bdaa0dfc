"""Random numbers for the clips of a batch, drawn by one seed per clip: the same in any batch, process and order.

Each number is a hash of the clip's seed and a counter. No state is carried from one to the next, so the numbers of all
clips are computed at once, on any device.

Source:
    Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators": SplitMix64, which passes BigCrush.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from scipy.special import betaincinv
from torch import Tensor

# As signed integers, which wrap around like unsigned ones.
_STEP: Final = 0x9E3779B97F4A7C15 - 2**64
_FIRST: Final = 0xBF58476D1CE4E5B9 - 2**64
_SECOND: Final = 0x94D049BB133111EB - 2**64


def clip_seeds(seed: int, clips: Sequence[int]) -> Tensor:
    """Return the seeds of numbered clips, (clips,) int64, derived from one global seed."""
    return _mixed(seed + _STEP * (1 + torch.tensor(clips, dtype=torch.int64)))


class Draws:
    """Random numbers for each clip; every call returns new ones."""

    def __init__(self, seeds: Tensor) -> None:
        """Take the clips' seeds, (clips,) int64, on the device on which to draw."""
        self._seeds = seeds
        self._used = 0

    def step(self, number: int) -> Draws:
        """Return draws for the same clips that are independent of these and of those for other numbers."""
        return Draws(_mixed(self._seeds ^ _mixed(torch.tensor(number + 1))))

    def take(self, rows: Tensor, device: torch.device) -> Draws:
        """Return new, independent draws for some of the clips on a device."""
        return Draws(_mixed(~self._seeds[rows.to(self._seeds.device)]).to(device))

    def uniform(self, lowest: float = 0.0, highest: float = 1.0, *, each: int | None = None) -> Tensor:
        """Draw uniform numbers between two bounds, shape (clips,), or (clips, each)."""
        # The upper 24 bits: the most that a float32 holds without rounding up to 1.
        fractions = _upper(self._bits(each or 1), 24).float() * 2.0**-24
        drawn = lowest + (highest - lowest) * fractions
        return drawn[:, 0] if each is None else drawn

    def whole(self, lowest: int, above: int) -> Tensor:
        """Draw integers from `lowest` up to but excluding `above`, shape (clips,)."""
        return lowest + (_upper(self._bits(1)[:, 0], 53) * 2.0**-53 * (above - lowest)).long()

    def beta(self, alpha: float) -> Tensor:
        """Draw from Beta(alpha, alpha), shape (clips,)."""
        fractions = (_upper(self._bits(1)[:, 0], 53).double() + 0.5) * 2.0**-53
        return torch.from_numpy(betaincinv(alpha, alpha, fractions.cpu().numpy())).float().to(fractions.device)

    def normal(self, samples: int) -> Tensor:
        """Draw from the standard normal distribution, shape (clips, samples); longer draws begin with the same numbers.

        Source:
            Box and Muller 1958, "A Note on the Generation of Random Normal Deviates".
        """
        bits = self._bits(-(-samples // 2))
        radius = torch.sqrt(-2 * torch.log((_upper(bits, 32).float() + 0.5) * 2.0**-32))
        angle = (bits & (2**32 - 1)).float() * (2 * math.pi * 2.0**-32)
        both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
        return both.flatten(1)[:, :samples]

    def _bits(self, each: int) -> Tensor:
        """Return `each` new 64-bit numbers per clip, shape (clips, each)."""
        counts = torch.arange(1 + self._used, 1 + self._used + each, device=self._seeds.device)
        self._used += each
        return _mixed(self._seeds[:, None] + _STEP * counts)


def _mixed(values: Tensor) -> Tensor:
    values = (values ^ _upper(values, 34)) * _FIRST
    values = (values ^ _upper(values, 37)) * _SECOND
    return values ^ _upper(values, 33)


def _upper(values: Tensor, bits: int) -> Tensor:
    """Return the upper `bits` of 64 bits as a number."""
    return (values >> (64 - bits)) & (2**bits - 1)
