"""List the clips of a source."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import sources
from audiocls.params import DataSource
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken


# NO_CACHE on every task: the library's stores are keyed by content and settings, and skip finished work. Prefect would
# hash paths by their names, and miss changed files and edits in the library.
@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
@timed
def ingest(data: DataSource, workspace: Path) -> Path:
    """List the clips and labels; return the manifest."""
    return sources.list_clips(data, workspace)
