"""Overrides that a run's params allow and do not have yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from audiocls.errors import ParamsError
from audiocls.params import WITHOUT_TRAINING, EmbeddingBalance, RunParams
from audiocls.params_file import override_params

MOST: Final = 3


def usable(params: RunParams, overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the first three overrides that change these params without a conflict."""
    found: list[str] = []
    for text in dict.fromkeys(overrides):
        if len(found) == MOST:
            break
        if _is_idle(params, text):
            continue
        try:
            changed = override_params(params, [text])
        except ParamsError:
            continue
        if changed != params:
            found.append(text)
    return tuple(found)


def _is_idle(params: RunParams, text: str) -> bool:
    """Return whether an override changes a training that does not happen, or that ends by its number of steps."""
    section, _, name = text.partition("=")[0].partition(".")
    if section == "training" and name == "epochs" and params.training.max_steps is not None:
        return True
    return isinstance(params.balance, EmbeddingBalance) and section == "training" and name not in WITHOUT_TRAINING


def added_transforms(params: RunParams, transforms: Iterable[Mapping[str, Any]]) -> str:
    """Return an override that adds the transforms that the run does not have; it changes nothing if it has all."""
    present = [step.model_dump(mode="json", exclude_unset=True) for step in params.augmentation]
    kinds = {step["kind"] for step in present}
    new = [dict(step) for step in transforms if step["kind"] not in kinds]
    return f"augmentation={as_flow([*present, *new])}"


def as_flow(value: Any) -> str:
    """Write a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.strip()


def rounded(value: float) -> str:
    """Write a number with two digits, as in a params file."""
    return f"{float(f'{value:.2g}'):g}"
