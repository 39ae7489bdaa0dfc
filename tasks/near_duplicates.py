"""Find clips that hold the same recording in several forms."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import near_duplicates, waveforms
from audiocls.stopwatch import timed


# NO_CACHE because the corpus folder holds the result, keyed by algorithm version, and the store the fingerprints.
@task(cache_policy=NO_CACHE)
@timed
def find_near_duplicates(corpus: waveforms.Corpus) -> Path:
    """Compare the clips that were not compared before; return the table of pairs."""
    return near_duplicates.find_near_duplicates(corpus.clips, corpus.store)
