"""Find the clips that hold one recording in several forms."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import near_duplicates, waveforms
from audiocls.stopwatch import timed


# NO_CACHE because the corpus folder keeps the result under the algorithm's version, and the store every fingerprint.
@task(cache_policy=NO_CACHE)
@timed
def find_near_duplicates(corpus: waveforms.Corpus) -> Path:
    """Compare what no run has compared; return the table of pairs."""
    return near_duplicates.find_near_duplicates(corpus.clips, corpus.store)
