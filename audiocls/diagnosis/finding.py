"""What a diagnosis finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from audiocls.metrics import Interval

Kind = Literal["imbalance", "overfitting", "underfitting", "long_audio", "front_end", "calibration", "data"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a finding rests on, and its interval; the ends are None if it has none."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: str, found: Interval) -> Figure:
        """Take the ends of an interval, which are NaN if there is none."""
        value, low, high = (float(np.squeeze(end)) for end in (found.value, found.low, found.high))
        return cls(name, value, *((None, None) if np.isnan(low) else (low, high)))

    @property
    def text(self) -> str:
        """The number with its interval."""
        return f"{self.value:.3g}" if self.low is None else f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a run.

    Attributes:
        kind: Of the fault.
        cause: More closely, e.g. `few_groups`.
        sentence: What is wrong and what to do, in words.
        measured: What it rests on, with 99 % intervals.
        look_at: Files of the run's folder, and ids of clips.
        overrides: At most three, the most promising first, each to be pasted after `audiocls train PARAMS`.
        gain: Of macro recall on validation if the fault were gone altogether: findings rank by it.
    """

    kind: Kind
    cause: str
    sentence: str
    measured: tuple[Figure, ...] = ()
    look_at: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    gain: float = 0.0

    @property
    def name(self) -> str:
        """Kind and cause in words."""
        return f"{self.kind} ({self.cause})".replace("_", " ")

    @property
    def figures(self) -> dict[str, str]:
        """What was measured, as text by name."""
        return {each.name: each.text for each in self.measured}

    def described(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Finding:
        """Read what `described` returns, also from JSON."""
        fields = dict(described)
        fields["measured"] = tuple(Figure(**each) for each in fields["measured"])
        return cls(**fields | {name: tuple(fields[name]) for name in ("look_at", "overrides")})
