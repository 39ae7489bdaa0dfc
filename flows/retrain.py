"""Train anew if there is anything new, and put the model into use if it is better: `audiocls retrain PARAMS.yaml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.cli import main

if __name__ == "__main__":  # before Prefect is imported, so that mistakes are reported quickly
    sys.exit(main(["retrain", *sys.argv[1:]]))

from prefect import flow

from audiocls.params import RunParams
from audiocls.params_file import load_params
from audiocls.registry import registry_of, retraining_alone
from audiocls.splits import PreparedData
from audiocls.stopwatch import stopwatch
from audiocls.waveforms import Corpus
from flows.runs import name_run
from flows.train import train_flow
from tasks.corpus import collect_corpus
from tasks.manifest import ingest
from tasks.near_duplicates import find_near_duplicates
from tasks.registry import describe_verdict, find_news, settle_challenger
from tasks.splits import assign_splits
from tasks.waveforms import cache_waveforms


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """The result of `retrain-flow`, which the command line prints as JSON."""

    model: str
    run_id: str | None
    """None: nothing was new, and nothing was trained."""
    version: int
    promoted: bool
    champion: int | None
    """After the run."""
    decision: str
    metrics: dict[str, float]
    seconds: dict[str, float]
    summary: str


@flow(name="retrain-flow", flow_run_name=name_run)
def retrain_flow(params_file: str, overrides: tuple[str, ...] = ()) -> RetrainResult:
    """Train a challenger unless nothing is new, and promote it if it passes the gate."""
    params = load_params(params_file, overrides)
    name = registry_of(params).name
    with stopwatch() as seconds, retraining_alone(params):
        corpus = _gather(params)
        news = find_news(params, corpus)
        if news.known is not None:
            return _nothing_new(params, news.known, seconds)
        trained = train_flow(params_file, overrides)
        splits = assign_splits(corpus, find_near_duplicates(corpus), params)
        data = PreparedData(splits, corpus.store, params, digest=corpus.digest)
        verdict = settle_challenger(trained.run_id, data, news)
    champion = verdict.version if verdict.promoted else verdict.champion
    return RetrainResult(
        name,
        trained.run_id,
        verdict.version,
        verdict.promoted,
        champion,
        verdict.judged.decision.sentence,
        trained.metrics,
        seconds,
        f"{trained.summary}\n\n## Gate\n\n{describe_verdict(verdict)}",
    )


def _gather(params: RunParams) -> Corpus:
    manifest = ingest(params.data, params.workspace)
    filled = cache_waveforms(manifest, params.audio, params.workspace, params.runner)
    return collect_corpus(manifest, filled, params.workspace)


def _nothing_new(params: RunParams, version: int, seconds: dict[str, float]) -> RetrainResult:
    registry = registry_of(params)
    champion = registry.champion()
    number = None if champion is None else champion.number
    said = f"Nothing new: version {version} of {registry.name} has the same data, params and code."
    return RetrainResult(registry.name, None, version, False, number, said, {}, seconds, said)
