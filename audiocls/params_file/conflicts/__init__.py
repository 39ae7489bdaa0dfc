"""Params that are each valid and contradict each other."""

from __future__ import annotations

from audiocls.params import RunParams
from audiocls.params_file.conflicts import balance, chunks, comparison, data, idle, labels, model, training
from audiocls.params_file.conflicts.conflict import Conflict


def find_conflicts(params: RunParams) -> list[Conflict]:
    """Return every impossible combination as (key, message)."""
    sections = (data, labels, chunks, model, balance, comparison, training, idle)
    return [conflict for section in sections for rule in section.RULES for conflict in rule(params)]
