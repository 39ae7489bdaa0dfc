"""Where a metric is in MLflow: a dozen at the top level, which are to be compared, and the others in namespaces.

    test/f1_macro, validation/f1_macro, train/loss      the top level
    class/f1/LABEL, robustness/KIND                     on test, of each class and of each corruption
    details/test/matthews, details/train/grad_norm      everything else
    system/cpu_utilization_percentage                   as MLflow names them

MLflow's page of a run lists metrics in the order in which they were first logged, and its charts have a section for
each namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TOP: Final[Mapping[str, tuple[str, ...]]] = {
    "test": ("map_macro", "f1_macro", "accuracy", "balanced_accuracy", "lwlrap", "auroc_macro", "loss"),
    "validation": ("map_macro", "f1_macro", "accuracy", "lwlrap", "loss"),
    "train": ("loss", "learning_rate"),
}
_OF_CLASSES: Final = ("precision", "recall", "f1", "auroc", "average_precision")
_NAMESPACES: Final = ("class", "robustness", "details", "system")


def headline_first(metrics: Mapping[str, float], score: str | None = None) -> dict[str, float]:
    """Return metrics under their names in MLflow, those of the top level first.

    Args:
        metrics: Named `test/...`, `validation/...`, `train/...` and so on.
        score: By which runs are compared, without the split; it is at the top level too.
    """
    first = top_level(metrics, score)
    return first | dict(sorted((_placed(name), value) for name, value in metrics.items() if name not in first))


def top_level(metrics: Mapping[str, float], score: str | None = None) -> dict[str, float]:
    """Return the metrics of the top level, in the order of their importance; takes what `headline_first` does."""
    scores = () if score is None else (score,)
    names = [f"{split}/{name}" for split, of_split in _TOP.items() for name in dict.fromkeys((*scores, *of_split))]
    return {name: metrics[name] for name in names if name in metrics}


def _placed(name: str) -> str:
    split, _, rest = name.partition("/")
    kind, _, last = rest.partition("/")
    if split in _NAMESPACES:
        return name
    if split == "test" and last and kind in _OF_CLASSES:
        return f"class/{rest}"
    return rest if split == "test" and kind == "robustness" and last else f"details/{name}"
