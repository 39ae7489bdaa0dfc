"""Random numbers for the clips of a batch, of each by its own seed: the same in any batch, process and order.

A clip's numbers are a hash of its seed and their own number, so that nothing is counted on from one to the next, and
all clips' are computed at once, on any device.

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

# As signed numbers, which wrap around as unsigned ones do.
_STEP: Final = 0x9E3779B97F4A7C15 - 2**64
_FIRST: Final = 0xBF58476D1CE4E5B9 - 2**64
_SECOND: Final = 0x94D049BB133111EB - 2**64


def clip_seeds(seed: int, clips: Sequence[int]) -> Tensor:
    """Return the seeds, (clips,) int64, that numbered clips have under a seed of all."""
    return _mixed(seed + _STEP * (1 + torch.tensor(clips, dtype=torch.int64)))


class Draws:
    """Numbers of each clip; every call gives new ones."""

    def __init__(self, seeds: Tensor) -> None:
        """Take the clips' seeds, (clips,) int64, on the device that is to hold the numbers."""
        self._seeds = seeds
        self._used = 0

    def step(self, number: int) -> Draws:
        """Return draws of the same clips that share nothing with these, or with those of another number."""
        return Draws(_mixed(self._seeds ^ _mixed(torch.tensor(number + 1))))

    def take(self, rows: Tensor, device: torch.device) -> Draws:
        """Return draws of some of the clips on a device; they begin anew, with numbers of their own."""
        return Draws(_mixed(~self._seeds[rows.to(self._seeds.device)]).to(device))

    def uniform(self, lowest: float = 0.0, highest: float = 1.0, *, each: int | None = None) -> Tensor:
        """Draw numbers evenly between two bounds, shape (clips,), or (clips, each)."""
        # The upper 24 bits: as many as a float32 between 0 and 1 holds without rounding up to 1.
        shares = _upper(self._bits(each or 1), 24).float() * 2.0**-24
        drawn = lowest + (highest - lowest) * shares
        return drawn[:, 0] if each is None else drawn

    def whole(self, lowest: int, above: int) -> Tensor:
        """Draw whole numbers from `lowest` to below `above`, shape (clips,)."""
        return lowest + (_upper(self._bits(1)[:, 0], 53) * 2.0**-53 * (above - lowest)).long()

    def beta(self, alpha: float) -> Tensor:
        """Draw from Beta(alpha, alpha), shape (clips,)."""
        shares = (_upper(self._bits(1)[:, 0], 53).double() + 0.5) * 2.0**-53
        return torch.from_numpy(betaincinv(alpha, alpha, shares.cpu().numpy())).float().to(shares.device)

    def normal(self, samples: int) -> Tensor:
        """Draw from the normal distribution, shape (clips, samples): those of more samples begin with the same.

        Source:
            Box and Muller 1958, "A Note on the Generation of Random Normal Deviates".
        """
        bits = self._bits(-(-samples // 2))
        radius = torch.sqrt(-2 * torch.log((_upper(bits, 32).float() + 0.5) * 2.0**-32))
        angle = (bits & (2**32 - 1)).float() * (2 * math.pi * 2.0**-32)
        both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
        return both.flatten(1)[:, :samples]

    def _bits(self, each: int) -> Tensor:
        """Return 64 new bits of each clip `each` times, shape (clips, each)."""
        counts = torch.arange(1 + self._used, 1 + self._used + each, device=self._seeds.device)
        self._used += each
        return _mixed(self._seeds[:, None] + _STEP * counts)


def _mixed(values: Tensor) -> Tensor:
    values = (values ^ _upper(values, 34)) * _FIRST
    values = (values ^ _upper(values, 37)) * _SECOND
    return values ^ _upper(values, 33)


def _upper(values: Tensor, bits: int) -> Tensor:
    """Return the upper bits of 64 as a number."""
    return (values >> (64 - bits)) & (2**bits - 1)
