"""Measure how long ten balance methods with five seeds each take on existing embeddings.

    OMP_NUM_THREADS=1 python benchmarks/balance_methods.py

Use one thread: on busy cores, two threads that wait for each other took six times as long.

The embeddings are random: 20 long-tailed classes, 100 : 1, with centers as far apart as the noise is wide; the groups
are speakers. So the scores show only that the methods run, not how they perform on recordings.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import torch

from audiocls.comparison.heads import Embedded, compare_methods
from audiocls.comparison.report import judge
from audiocls.comparison.scores import compare_scores
from audiocls.heads.clips import Clips
from audiocls.params.run import RunParams
from audiocls.params_file.candidates import list_candidates

CLIPS, DIMS, CLASSES, RATIO, SEEDS = 5_000, 256, 20, 100, (1, 2, 3, 4, 5)
HELD_OUT_CLIPS_A_CLASS, SPEAKERS = 40, 50


def clips(counts: np.ndarray, centres: np.ndarray, rng: np.random.Generator) -> Clips:
    targets = np.repeat(np.arange(len(counts)), counts)
    speakers = rng.integers(SPEAKERS, size=len(targets))
    voices = 0.5 * rng.normal(size=(SPEAKERS, DIMS))
    embeddings = centres[targets] + voices[speakers] + rng.normal(size=(len(targets), DIMS))
    return Clips(embeddings.astype(np.float32), targets, speakers.astype(str).astype(object))


def main() -> None:
    rng = np.random.default_rng(0)
    centres = 0.25 * rng.normal(size=(CLASSES, DIMS))
    shares = np.geomspace(1, 1 / RATIO, CLASSES)
    counts = np.maximum(1, np.round(CLIPS * shares / shares.sum())).astype(int)
    held_out = np.full(CLASSES, HELD_OUT_CLIPS_A_CLASS)
    training, validation, test = (clips(each, centres, rng) for each in (counts, held_out, held_out))
    embedded = Embedded(training, validation, test, tuple(f"class {i:02d}" for i in range(CLASSES)))
    params = RunParams.model_validate({"data": {"source": "sample"}, "model": {"pretrained": "drawn"}})
    methods = {each.name: each.balance for each in list_candidates(params)}
    start, start_cpu = time.perf_counter(), time.process_time()
    found, _ = compare_methods(embedded, methods, SEEDS)
    tables = []
    for split, part in (("validation", embedded.validation), ("test", embedded.test)):
        logits = {name: [getattr(each, split) for each in by_seed] for name, by_seed in found.items()}
        tables.append(compare_scores(logits, part.targets, part.groups, embedded.counts).assign(split=split))
    table = pd.concat(tables)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    facts = {
        "clips": int(counts.sum()), "dims": DIMS, "classes": CLASSES, "methods": len(methods), "seeds": len(SEEDS),
        "threads": torch.get_num_threads(), "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1), "verdict": judge(table, SPEAKERS, len(SEEDS), None)[1],
    }  # fmt: skip
    print(json.dumps(facts | {"table": table.round(4).to_dict(orient="records")}))


if __name__ == "__main__":
    main()
