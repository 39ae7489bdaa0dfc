"""Line plots as records with computed positions, which the template draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

WIDTH: Final = 420
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 12, 44
_MOST_POINTS: Final = 120  # of a line
_MOST_TICKS: Final = 6

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis."""

    position: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line; `kind` is the CSS class that gives its color. A line without a name is not in the legend."""

    name: str
    kind: str
    points: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot with a text that is shown on hover."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with axes; `description` is its text alternative."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    scale: str  # for the script: x at the left, x at the right, y at the bottom, y at the top

    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of a line to plot."""

    name: str
    kind: str
    x: Values
    y: Values


@dataclass(frozen=True, slots=True)
class Axes:
    """The ranges and names of both axes."""

    x_label: str
    y_label: str
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)

    def place_x(self, values: Any) -> Any:
        """Return positions in the drawing."""
        return _LEFT + (values - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - _LEFT - _RIGHT)

    def place_y(self, values: Any) -> Any:
        """Return positions in the drawing, from the top."""
        return HEIGHT - _BOTTOM - (values - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - _TOP - _BOTTOM)


def draw_lines(
    title: str,
    description: str,
    axes: Axes,
    curves: Sequence[Curve],
    dots: Sequence[tuple[float, float, float, str]] = (),
) -> Plot:
    """Lay out a plot.

    Args:
        title: Above the plot.
        description: Its content in words, for those who do not see it.
        axes: Ranges and names.
        curves: The lines.
        dots: x, y, radius and text of each dot.
    """
    lines = tuple(Line(curve.name, curve.kind, _points(curve, axes)) for curve in curves if len(curve.x))
    placed = tuple(Dot(float(axes.place_x(x)), float(axes.place_y(y)), radius, text) for x, y, radius, text in dots)
    x_ticks = tuple(Tick(float(axes.place_x(value)), _text(value)) for value in _ticks(axes.x))
    y_ticks = tuple(Tick(float(axes.place_y(value)), _text(value)) for value in _ticks(axes.y))
    scale = " ".join(f"{end:g}" for end in (*axes.x, *axes.y))
    return Plot(title, description, axes.x_label, axes.y_label, x_ticks, y_ticks, lines, placed, scale)


def range_of(*values: Values) -> tuple[float, float]:
    """Return a range from 0 that contains all finite values."""
    finite = np.concatenate([np.ravel(each) for each in values])
    finite = finite[np.isfinite(finite)]
    highest = float(finite.max()) if len(finite) else 0.0
    return 0.0, highest * 1.05 if highest > 0 else 1.0


def _points(curve: Curve, axes: Axes) -> str:
    finite = np.isfinite(curve.x) & np.isfinite(curve.y)
    x, y = axes.place_x(curve.x[finite]), axes.place_y(curve.y[finite])
    kept = np.unique(np.linspace(0, len(x) - 1, min(_MOST_POINTS, len(x))).round().astype(int))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[kept], y[kept], strict=True))


def _ticks(ends: tuple[float, float]) -> list[float]:
    found = MaxNLocator(_MOST_TICKS - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
    slack = 1e-9 * (ends[1] - ends[0])
    return [float(tick) for tick in found if ends[0] - slack <= tick <= ends[1] + slack]


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
