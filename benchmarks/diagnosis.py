"""Diagnose made corpora with one planted fault each, and healthy ones; follow the first override of each finding.

    OMP_NUM_THREADS=1 python benchmarks/diagnosis.py WORKSPACE [--seeds N ...] [--only NAME ...] [--no-remedy]

Runs the steps of `train-flow` without Prefect and MLflow. Prints a JSON line for each corpus and seed: what was planted
and found, the macro-F1 on test before and after following the first override of the planted fault, and the seconds. The
last line has the totals. A remedy is trained on the same recordings, with the same seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faulty_corpora import PLANS, Plan, params_of, write_corpus

from audiocls.audit.report import write_audit
from audiocls.balance import balance
from audiocls.diagnosis import Diagnosis, Finding, diagnose
from audiocls.evaluation import evaluate
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.run import RunParams
from audiocls.params_file import override_params
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


def train(params: RunParams, run: Path) -> tuple[float, Diagnosis, dict[str, float]]:
    """Train, evaluate and diagnose as `train-flow` does; return macro-F1 on test, the diagnosis and seconds."""
    data = prepare(params, run)
    balanced = balance(data.split_clips, params.balance, params.seed, params.workspace)
    start = time.perf_counter()
    model = fit(data, balanced, run, lambda metrics, step: None)
    trained = time.perf_counter()
    evaluated = evaluate(model.folder, data, run / "evaluation")
    scored = time.perf_counter()
    diagnosis = diagnose(model.folder, data, run)
    seconds = {"fit": trained - start, "evaluate": scored - trained, "diagnose": time.perf_counter() - scored}
    return evaluated.metrics["test/f1_macro"], diagnosis, seconds


def prepare(params: RunParams, run: Path) -> PreparedData:
    """Decode, audit and split the recordings."""
    manifest = list_clips(params.data, params.workspace)
    plan = plan_store(manifest, params.audio, params.workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, params.workspace)
    pairs = find_near_duplicates(corpus.clips, corpus.store)
    # A remedy is trained on the same corpus, unless it changes how recordings are decoded.
    audited = params.workspace / "audits" / corpus.digest
    if not audited.exists():
        audited.mkdir(parents=True)
        write_audit(corpus, pairs, audited)
    shutil.copytree(audited, run / "data")
    splits = assign_splits(corpus.clips, params.split, params.seed, params.workspace, None, pairs)
    return PreparedData(splits, corpus.store, params)


def measure(name: str, plan: Plan, seed: int, workspace: Path, *, remedy: bool) -> dict[str, Any]:
    """Make one corpus, diagnose a training on it, and follow the advice."""
    home = workspace / f"{name.replace(' ', '-')}-{seed}"
    shutil.rmtree(home, ignore_errors=True)
    table = write_corpus(plan, home, seed)
    params = RunParams.model_validate(params_of(plan, table, home, seed))
    before, diagnosis, seconds = train(params, home / "runs" / "before")
    found = [f"{each.kind}/{each.cause}" for each in diagnosis.findings]
    said: dict[str, Any] = {
        "corpus": name, "seed": seed, "planted": "/".join(plan.finding) if plan.finding else None, "found": found,
        "test_f1_macro": round(before, 4), "seconds": {key: round(value, 2) for key, value in seconds.items()},
    }  # fmt: skip
    followed = planted_in(diagnosis.findings, plan)
    if remedy and followed and followed.overrides:
        changed = override_params(params, [followed.overrides[0]])
        after, again, _ = train(changed, home / "runs" / "after")
        said |= {"override": followed.overrides[0], "test_f1_macro_after": round(after, 4)}
        said |= {"found_after": [f"{each.kind}/{each.cause}" for each in again.findings]}
    shutil.rmtree(home)
    return said


def planted_in(findings: Sequence[Finding], plan: Plan) -> Finding | None:
    """Return the finding of the planted fault."""
    return next((each for each in findings if (each.kind, each.cause) == plan.finding), None)


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count how often the planted faults were found, and how the overrides did."""
    faulty, healthy = ([row for row in rows if bool(row["planted"]) is kind] for kind in (True, False))
    gains = defaultdict(list)
    for row in faulty:
        if "test_f1_macro_after" in row:
            gains[row["corpus"]].append(row["test_f1_macro_after"] - row["test_f1_macro"])
    first = [row["found"][:1] == [row["planted"]] for row in faulty]
    cost = [row["seconds"]["diagnose"] / row["seconds"]["fit"] for row in rows]
    return {
        "faulty": len(faulty),
        "named_first": float(np.mean(first)) if first else None,
        "among_the_findings": float(np.mean([row["planted"] in row["found"] for row in faulty])) if faulty else None,
        "healthy": len(healthy),
        "healthy_with_a_finding": float(np.mean([bool(row["found"]) for row in healthy])) if healthy else None,
        "mean_gain": {name: round(float(np.mean(each)), 4) for name, each in gains.items()},
        "raised": sum(float(np.mean(each)) > 0 for each in gains.values()),
        "diagnosis_seconds": round(float(np.mean([row["seconds"]["diagnose"] for row in rows])), 2),
        "diagnosis_per_training": round(float(np.median(cost)), 3),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure the corpora that are asked for."""
    parser = argparse.ArgumentParser(description="Diagnose made corpora with planted faults.")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--no-remedy", action="store_true")
    asked = parser.parse_args(arguments)
    rows = []
    for seed in asked.seeds:
        for name in asked.only:
            rows.append(measure(name, PLANS[name], seed, asked.workspace.absolute(), remedy=not asked.no_remedy))
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(totals(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
