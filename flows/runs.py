"""What the runs of all flows have in common: how they are named, and how many shards they work on at a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

# As many shards at a time as there are cores: Prefect's default would start all of them, and hold all in memory.
# Any, as Prefect's own types of runners and flows do not fit each other.
SHARD_RUNNER: Final[Any] = ThreadPoolTaskRunner(max_workers=os.cpu_count())


def name_run() -> str:
    """Name a run by its params file and the time, e.g. phrases-20261122-120501; MLflow's run gets the same name."""
    return f"{Path(flow_run.parameters['params_file']).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
