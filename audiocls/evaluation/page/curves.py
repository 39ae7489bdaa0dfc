"""The curves of a page: ROC, precision over recall, reliability, risk over coverage, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from audiocls.evaluation.page.plots import Axes, Curve, Plot, draw_lines, range_of
from audiocls.evaluation.page.predictions import Predictions
from audiocls.evaluation.page.records import ClassRow

_NAMED: Final = 3  # classes with a color and a name: those of the lowest score
_MOST_CELLS: Final = 5_000_000  # clips by classes, for ROC and precision over recall
_FAINT: Final = 20  # further classes, as thin lines
_SCORES: Final = {"eval_map_macro": "mAP", "eval_f1_macro": "macro-F1", "eval_accuracy": "accuracy"}
_COLOURS: Final = ("all", "first", "second", "third")


def ranking_plots(predictions: Predictions, classes: Sequence[ClassRow]) -> tuple[Plot, ...]:
    """Draw ROC and precision over recall, of all classes together and of the worst ones; none if undefined.

    Args:
        predictions: Of test.
        classes: With the average precision of each class.
    """
    step = math.ceil(predictions.probabilities.size / _MOST_CELLS)
    present, known, scores = (
        each[::step] for each in (predictions.present, predictions.known, predictions.probabilities)
    )
    columns = {
        label: (present[known[:, k], k], scores[known[:, k], k])
        for k, label in enumerate(predictions.labels)
        if 0 < present[known[:, k], k].sum() < known[:, k].sum()
    }
    if not columns:
        return ()
    precisions = {row.label: row.average_precision for row in classes}
    ranked = sorted(columns, key=precisions.__getitem__)
    shown = {label: columns[label] for label in ranked[: _NAMED + _FAINT]}
    together = (present[known], scores[known])
    roc = [(label, *roc_curve(*column)[:2]) for label, column in {"": together, **shown}.items()]
    area = auc(*roc[0][1:])
    micro = float(average_precision_score(*together))
    pr = [(label, *precision_recall_curve(*column)[1::-1]) for label, column in {"": together, **shown}.items()]
    rest = f"; the thin lines are the next {len(shown) - _NAMED}" if len(shown) > _NAMED else ""
    legend = f"Named are the classes of the lowest average precision{rest}."
    legend += f" Drawn from every {step}th clip." if step > 1 else ""
    return (
        draw_lines(
            "ROC curve, each class against the others",
            f"The area under the curve of all classes together is {area:.3f}. {legend}",
            Axes("false positive rate", "true positive rate"),
            [*_of_classes(roc), Curve("", "guide", np.array([0.0, 1.0]), np.array([0.0, 1.0]))],
        ),
        draw_lines(
            "Precision over recall",
            f"The average precision of all classes together is {micro:.3f}. {legend}",
            Axes("recall", "precision"),
            _of_classes(pr),
        ),
    )


def _of_classes(curves: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[Curve]:
    """Return the first curve as that of all classes, the next few with a name, and the others as faint lines."""
    named, faint = curves[: 1 + _NAMED], curves[1 + _NAMED :]
    return [
        *(Curve("", "faint", x, y) for _, x, y in faint),
        *(Curve(name or "all classes", _COLOURS[i], x, y) for i, (name, x, y) in enumerate(named)),
    ]


def reliability_plot(bins: pd.DataFrame) -> Plot:
    """Draw accuracy over confidence.

    Args:
        bins: As `reliability.csv` has them.
    """
    most = int(bins["clips"].max())
    dots = [
        (row.confidence, row.accuracy, 3 + 9 * (row.clips / most) ** 0.5, _bin_text(row)) for row in bins.itertuples()
    ]
    gap = float((bins["clips"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / bins["clips"].sum())
    return draw_lines(
        "Reliability",
        f"The mean distance of confidence and accuracy is {gap:.3f}. A dot is a bin of confidence, its size the number "
        "of clips. Below the diagonal the model is too certain.",
        Axes("confidence", "fraction that is right"),
        [Curve("", "guide", np.array([0.0, 1.0]), np.array([0.0, 1.0]))],
        dots,
    )


def _bin_text(row: pd.Series) -> str:
    return f"confidence {row.confidence:.2f}: {row.accuracy:.0%} of {row.clips} clips are right"


def risk_plot(curve: pd.DataFrame) -> Plot:
    """Draw the fraction of wrong answers over the fraction of clips that are answered.

    Args:
        curve: As `risk_coverage.csv` has it.
    """
    at_half = curve.iloc[(curve["coverage"] - 0.5).abs().argmin()]
    return draw_lines(
        "Risk over coverage",
        f"Of all answers, {curve['risk'].iloc[-1]:.1%} are wrong; of the more certain half, {at_half['risk']:.1%}, if "
        f"answers below a probability of {at_half['threshold']:.3f} are withheld.",
        Axes("fraction of clips answered", "fraction of answers wrong", y=range_of(curve["risk"].to_numpy())),
        [Curve("", "first", curve["coverage"].to_numpy(), curve["risk"].to_numpy())],
    )


def learning_plots(history: pd.DataFrame) -> Iterator[Plot]:
    """Draw the losses and the validation score over the steps of training.

    Args:
        history: As `learning_curves.csv` has it: `step`, `metric` and `value`.
    """
    losses = {name: _steps(history, name) for name in ("loss", "eval_loss")}
    given = {name: curve for name, curve in losses.items() if len(curve)}
    if given:
        names = {"loss": "training", "eval_loss": "validation"}
        last = ", ".join(f"{names[name]} ends at {curve['value'].iloc[-1]:.3f}" for name, curve in given.items())
        yield draw_lines(
            "Loss",
            f"By optimizer step: {last}.",
            Axes("step", "loss", _span(given.values(), "step"), _span(given.values(), "value")),
            [_curve(names[name], "first" if name == "loss" else "second", curve) for name, curve in given.items()],
        )
    scored = [(name, _steps(history, key)) for key, name in _SCORES.items()]
    shown = [(name, curve) for name, curve in scored if len(curve)]
    if shown:
        best = "; ".join(f"the best {name} is {curve['value'].max():.3f}" for name, curve in shown)
        yield draw_lines(
            "Scores on validation",
            f"By optimizer step: {best}.",
            Axes("step", "score", _span((curve for _, curve in shown), "step")),
            [_curve(name, _COLOURS[1 + i], curve) for i, (name, curve) in enumerate(shown)],
        )


def _steps(history: pd.DataFrame, metric: str) -> pd.DataFrame:
    return history[history["metric"] == metric].sort_values("step")


def _span(curves: Iterable[pd.DataFrame], column: str) -> tuple[float, float]:
    return range_of(*(curve[column].to_numpy(float) for curve in curves))


def _curve(name: str, kind: str, curve: pd.DataFrame) -> Curve:
    return Curve(name, kind, curve["step"].to_numpy(float), curve["value"].to_numpy(float))
