"""The condition for retrying a failed task."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from audiocls.errors import FullDiskError, UserMistake


def unless_mistaken(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry errors of a disk or a network, but not invalid params, invalid data or a full disk."""
    lasting = (UserMistake, FullDiskError)
    return not isinstance(state.data, lasting) and not isinstance(getattr(state.data, "result", None), lasting)
