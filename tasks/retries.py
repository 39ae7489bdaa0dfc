"""When a failed task is worth another try."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from audiocls.errors import FullDiskError, UserMistake


def unless_mistaken(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry what a disk or a network did; wrong params and wrong data stay wrong, and a full disk stays full."""
    lasting = (UserMistake, FullDiskError)
    return not isinstance(state.data, lasting) and not isinstance(getattr(state.data, "result", None), lasting)
