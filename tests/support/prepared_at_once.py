"""Prepare one corpus in several processes at once, each stage in step."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

from audiocls.near_duplicates import find_near_duplicates
from audiocls.params import RunParams
from audiocls.sources import list_clips
from audiocls.splits import assign_splits, ledger_of
from audiocls.waveforms import collect_corpus, plan_store, write_shard

PATIENCE_SECONDS = 120

_together: Barrier


def prepare_at_once(params: RunParams, processes: int) -> list[tuple[str, ...]]:
    """Return what each process answered: the digest and the paths of the manifest, the clips, the pairs, the splits."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _share, (together,)) as pool:
        begun = [pool.submit(_prepare, params.model_dump_json()) for _ in range(processes)]
        return [each.result() for each in begun]


def _share(together: Barrier) -> None:
    global _together
    _together = together


def _prepare(text: str) -> tuple[str, ...]:
    params = RunParams.model_validate_json(text)
    workspace = params.workspace
    _wait()
    manifest = list_clips(params.data, workspace)
    _wait()
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    _wait()
    corpus = collect_corpus(manifest, plan, workspace)
    _wait()
    near = find_near_duplicates(corpus.clips, corpus.store)
    _wait()
    ledger = ledger_of(params.experiment, params.split, params.seed, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace, ledger, near)
    return (corpus.digest, *(str(path) for path in (manifest, corpus.clips, near, splits, ledger)))


def _wait() -> None:
    _together.wait(PATIENCE_SECONDS)
