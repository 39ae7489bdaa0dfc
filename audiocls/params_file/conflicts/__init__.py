"""Params that are each valid and contradict each other."""

from __future__ import annotations

from audiocls.params import RunParams
from audiocls.params_file.conflicts import balance, chunks, comparison, data, idle, model, training
from audiocls.params_file.conflicts.conflict import Conflict


def find_conflicts(params: RunParams) -> list[Conflict]:
    """Return every impossible combination as (key, message)."""
    rules = (
        *data.RULES, *chunks.RULES, *model.RULES, *balance.RULES, *comparison.RULES, *training.RULES, *idle.RULES,
    )  # fmt: skip
    return [conflict for rule in rules for conflict in rule(params)]
