"""Ten balance methods with five seeds each on embeddings that are there already: how long all of it takes.

    OMP_NUM_THREADS=1 python benchmarks/balance_methods.py

One thread: where other work shares the cores, two that wait for each other took six times as long.

The embeddings are drawn: 20 classes of long-tailed size, 100 : 1, around centres as far apart as the noise is wide, by
speakers, who are the groups. So the scores say that the methods run, and not how they do on recordings.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from audiocls.balance.comparison import METHODS, Clips, compare_methods, compare_scores, verdict
from audiocls.balance_params import BlendParams

CLIPS, DIMS, CLASSES, RATIO, SEEDS = 5_000, 256, 20, 100, (1, 2, 3, 4, 5)
VALIDATION_CLIPS_A_CLASS, SPEAKERS = 40, 50


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
    training = clips(counts, centres, rng)
    validation = clips(np.full(CLASSES, VALIDATION_CLIPS_A_CLASS), centres, rng)
    start, start_cpu = time.perf_counter(), time.process_time()
    logits = compare_methods(training, validation, CLASSES, BlendParams(no_border="smote"), penalty=1.0, seeds=SEEDS)
    table = compare_scores(logits, validation, counts, seed=1)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    facts = {
        "clips": int(counts.sum()), "dims": DIMS, "classes": CLASSES, "methods": len(METHODS), "seeds": len(SEEDS),
        "threads": torch.get_num_threads(), "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1), "verdict": verdict(table),
    }  # fmt: skip
    print(json.dumps(facts | {"table": table.round(4).to_dict(orient="records")}))


if __name__ == "__main__":
    main()
