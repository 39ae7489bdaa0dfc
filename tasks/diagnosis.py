"""Diagnose a run after its evaluation."""

from __future__ import annotations

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import diagnosis, tracking, training
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed

logger = logging.getLogger("audiocls.diagnosis.report")


@task(cache_policy=NO_CACHE)
@timed
def diagnose(model: training.TrainedModel, data: PreparedData, run: tracking.TrackedRun) -> diagnosis.Diagnosis:
    """Find what is wrong with the run, and the overrides that may mend it."""
    found = diagnosis.diagnose(model.folder, data, run.folder)
    for each in found.findings:
        logger.info("%s: %s", each.name, each.sentence)
    return found
