"""Evidence of a made run: what a model would have answered, without a model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from audiocls.diagnosis.evidence import Answered, Evidence
from audiocls.params import RunParams

LABELS = ("a", "b", "c", "d")


def answered(recall, clips=40, groups=10, confidence=None, seed=0, into=None, seconds=1.0, split="train"):
    """Answers with the given recall of each class: wrong ones go to the next class, or to `into`."""
    rng = np.random.default_rng(seed)
    recall = np.broadcast_to(np.asarray(recall, float), len(LABELS))
    targets = np.repeat(np.arange(len(LABELS)), clips)
    right = rng.random(len(targets)) < recall[targets]
    other = (targets + 1) % len(LABELS) if into is None else np.asarray(into)[targets]
    found = np.where(right, targets, other)
    sure = right.mean() if confidence is None else confidence
    sure = float(np.clip(sure, 0.3, 0.999))
    probabilities = np.full((len(targets), len(LABELS)), (1 - sure) / (len(LABELS) - 1))
    probabilities[np.arange(len(targets)), found] = sure
    rows = pd.DataFrame(
        {
            "clip_id": [f"{split}-{i}" for i in range(len(targets))],
            "label": [LABELS[k] for k in targets],
            "group": [f"{split}-{i % groups}" for i in range(len(targets))],
            "duration_seconds": seconds,
            "source_rate_hz": 16_000,
            "clipped_fraction": 0.0,
        }
    )
    return Answered(rows, targets, probabilities)


def falling_loss(first=1.4, last=0.02, points=30):
    """The history of a normal training."""
    losses = last + (first - last) * np.exp(-np.linspace(0, 8, points))
    steps = np.arange(points) * 10
    rows = {"step": steps, "train/loss": losses, "train/grad_norm": np.linspace(3, 0.1, points)}
    return pd.DataFrame(
        rows | {"train/learning_rate": 1e-2, "validation/loss": losses, "validation/f1_macro": 1 - losses / 2}
    )


def evidence(training=0.99, validation=0.99, test=0.99, params=None, **changes):
    """Evidence of a healthy run, but for what is given."""
    splits = {
        name: scores if isinstance(scores, Answered) else answered(scores, seed=number, split=name)
        for number, (name, scores) in enumerate({"train": training, "validation": validation, "test": test}.items())
    }
    given = {
        "params": RunParams.model_validate(
            {"data": {"source": "sample"}, "audio": {"max_seconds": 1.5}} | (params or {})
        ),
        "labels": LABELS,
        "training": splits["train"],
        "validation": splits["validation"],
        "test": splits["test"],
        "counts": np.full(len(LABELS), 40),
        "groups": 10,
        "effective_groups": 10.0,
        "history": falling_loss(),
        "weight_size": 0.1,
    }
    return Evidence(**given | changes)
