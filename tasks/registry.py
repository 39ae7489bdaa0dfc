"""Retrain: look for what is new, and let the gate decide on the model that was trained."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import registry, waveforms
from audiocls.params import RunParams
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed


@task(cache_policy=NO_CACHE)
@timed
def find_news(params: RunParams, corpus: waveforms.Corpus) -> registry.News:
    """Say whether data, params or code differ from those of every registered version."""
    return registry.find_news(params, corpus.digest)


@task(cache_policy=NO_CACHE)
@timed
def settle_challenger(run_id: str, data: PreparedData, news: registry.News) -> registry.Verdict:
    """Register the model of a run, compare it with the champion, and promote it if it passes the gate."""
    verdict = registry.settle_challenger(run_id, data, news)
    create_markdown_artifact(key="gate", markdown=describe_verdict(verdict))
    return verdict


def describe_verdict(verdict: registry.Verdict) -> str:
    """Return a decision as Markdown: in words, and a table of all checks."""
    judged = verdict.judged
    against = "there was no champion" if verdict.champion is None else f"the champion was version {verdict.champion}"
    word = "is the champion now" if verdict.promoted else "was not promoted"
    lines = [
        f"**Version {verdict.version} {word}** ({against}; {judged.clips:,} test clips of {judged.groups:,} groups).",
        "",
        judged.decision.sentence,
        "",
        "| check | | |",
        "|---|---|---|",
    ]
    for check in judged.decision.checks:
        name, sentence = (text.replace("|", "\\|") for text in (check.name, check.sentence))
        lines.append(f"| {name} | {'pass' if check.passed else 'FAIL'} | {sentence} |")
    left_out = {why: count for why, count in judged.left_out.items() if count}
    if left_out:
        lines += ["", "Left out: " + ", ".join(f"{count:,} clips ({why})" for why, count in left_out.items()) + "."]
    return "\n".join(lines) + "\n"
