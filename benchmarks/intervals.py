"""Measure how often the 95 % intervals of `audiocls/metrics/intervals.py` cover the true score, in simulations.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py [--trials N] [--groups N ...] [--seeds N ...] [--corpora NAME ...]
        [--seed-spread X ...] [--bootstrap] > coverage.jsonl
    python benchmarks/interval_tables.py coverage.jsonl

Two systems predict 4 classes. Whether a prediction is correct depends on effects that both systems share: the clip's
class, its group, the group's class, and the clip's difficulty; and on effects of the system, its seed, and their
interactions with the group. A wrong prediction is drawn by the frequency of the classes. The true scores are computed
by integration, not by simulation; the true difference is 0, because both systems have the same distribution. Corpora
named `areas_` are simulated scores of one class, for AUROC (`interval_areas.py`).

Prints one JSON line per cell: the number of groups and seeds, the corpus (see CORPORA and AREAS), the spread of the
seeds (standard deviation, in logits), and for accuracy, macro-F1 and balanced accuracy, or AUROC, the fraction of the
trials in which the interval of one system (`level`) and of the difference (`gain`) covers the true value. Fewer groups
or seeds than an interval takes are measured as well. With `--bootstrap`, percentile intervals of 1,000 draws of groups
and seeds are measured on the same trials, which is slow.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from interval_areas import AREAS, AreaCorpus, simulate_areas, trials_at_a_time, true_area
from numpy.typing import NDArray
from scipy.special import expit, logit

from audiocls.metrics import intervals
from audiocls.metrics.intervals import GroupCounts, accuracy, balanced_accuracy, f1_macro, interval, jackknife

METRICS = {"accuracy": accuracy, "f1_macro": f1_macro, "balanced_accuracy": balanced_accuracy}
CLASSES = 4
DIFFICULTY = np.array([-1.0, 1.0])  # of one half of the clips and of the other, in logits, for all systems and seeds
Floats = NDArray[np.float64]
_MOST_HELD = 200_000  # groups times seeds


@dataclass(frozen=True, slots=True)
class Corpus:
    """How the clips come, and how hard they are."""

    right: float  # about the accuracy
    group_spread: float  # standard deviation between groups, in logits: what makes clips of a group fail together
    imbalance: float = 1.0  # the most frequent class over the rarest
    size_spread: float = 0.0  # standard deviation of the logarithm of a group's clips
    mixed: bool = True  # each group has all classes; else one or two of them mostly
    clips: int = 15  # of a group, in the mean

    @property
    def shares(self) -> Floats:
        """Return the frequency of each class."""
        shares = self.imbalance ** (-np.arange(CLASSES) / (CLASSES - 1))
        return shares / shares.sum()

    @property
    def ease(self) -> Floats:
        """Return how easy each class is, in logits."""
        return 1.25 * logit(self.right) - np.linspace(0, 0.7, CLASSES)


CORPORA = {
    "even": Corpus(0.8, 1.0),
    "independent": Corpus(0.8, 0.0),
    "alike": Corpus(0.7, 2.0),
    "imbalanced": Corpus(0.8, 1.0, imbalance=10, size_spread=0.8),
    "specialised": Corpus(0.8, 1.0, imbalance=10, size_spread=0.8, mixed=False),
    "easy": Corpus(0.95, 0.3, imbalance=10, size_spread=0.8),
    "dominated": Corpus(0.8, 1.0, imbalance=10, size_spread=1.6),
}


@cache
def truth(corpus: Corpus, seed_spread: float) -> dict[str, float]:
    """Return the expected scores over all groups and seeds."""
    rng = np.random.default_rng(0)
    at, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    spread = corpus.group_spread * np.sqrt(1.75)  # of the group, its class, the system and the seed together
    draws = 20_000 if seed_spread else 1
    of_seed = seed_spread * (rng.normal(size=(draws, 1)) + rng.normal(size=(draws, CLASSES)))
    logits = (corpus.ease + of_seed)[..., None, None] + DIFFICULTY[:, None] + spread * at
    right = (expit(logits).mean(axis=-2) * weights).sum(axis=-1)
    true = np.broadcast_to(corpus.shares, right.shape) * 1e9
    found = true * right + (true * (1 - right)) @ mistakes(corpus)
    return {name: float(metric(true, found, true * right).mean()) for name, metric in METRICS.items()}


def simulate(
    corpus: Corpus, trials: int, num_groups: int, num_seeds: int, seed_spread: float, rng: np.random.Generator
) -> list[GroupCounts]:
    """Draw the counts of two systems, each (trials, seeds, groups, classes); floats, because they are summed faster."""
    sizes = np.full((trials, num_groups), corpus.clips)
    if corpus.size_spread:
        drawn = rng.lognormal(0, corpus.size_spread, sizes.shape)
        sizes = np.maximum(1, np.round(drawn / drawn.mean(axis=1, keepdims=True) * corpus.clips)).astype(int)
    shares = np.broadcast_to(corpus.shares, (*sizes.shape, CLASSES))
    if not corpus.mixed:
        shares = rng.dirichlet(corpus.shares * CLASSES / 2, size=sizes.shape)
    true = rng.multinomial(sizes, shares)
    hard = rng.binomial(true, 0.5)
    clips = np.stack([hard, true - hard], axis=-1)
    group, own = corpus.group_spread, corpus.group_spread / 2
    ease = corpus.ease + rng.normal(0, group, (*sizes.shape, 1)) + rng.normal(0, own, true.shape)
    systems = []
    for _ in range(2):
        of_group = ease + rng.normal(0, own, (*sizes.shape, 1))
        counted = [_count_seed(corpus, of_group, clips, own, seed_spread, rng) for _ in range(num_seeds)]
        found, right = (np.stack(part, axis=1) for part in zip(*counted, strict=True))
        systems.append(GroupCounts(true[:, None].astype(float), found.astype(float), right.astype(float)))
    return systems


def _count_seed(
    corpus: Corpus, ease: Floats, clips: NDArray[np.int64], own: float, seed_spread: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw one seed's predictions; return what each class is predicted, and rightly, (trials, groups, classes)."""
    trials, num_groups, _ = ease.shape
    of_seed = seed_spread * (rng.normal(size=(trials, 1, 1)) + rng.normal(size=(trials, 1, CLASSES)))
    certain = expit((ease + of_seed + rng.normal(0, own, (trials, num_groups, 1)))[..., None] + DIFFICULTY)
    right = rng.binomial(clips, certain).sum(axis=-1)
    wrong = rng.multinomial(clips.sum(axis=-1) - right, mistakes(corpus))  # (trials, groups, true, predicted)
    return right + wrong.sum(axis=-2), right


def mistakes(corpus: Corpus) -> Floats:
    """Return what a clip of each class is taken for where it is mistaken, (classes, classes), rows of sum 1."""
    taken = np.tile(corpus.shares, (CLASSES, 1))
    for k in range(CLASSES):
        taken[k, (k + 1) % CLASSES] += taken[k, k]
        taken[k, k] = 0
    return taken


def measure(
    corpus: Corpus, trials: int, num_groups: int, num_seeds: int, seed_spread: float, bootstrap: bool, seed: int = 1
) -> dict[str, float]:
    """Return the coverage of one cell, by metric and kind."""
    rng = np.random.default_rng([seed, num_groups, num_seeds])
    expected = truth(corpus, seed_spread)
    covered: dict[str, list[NDArray[np.bool_]]] = {}
    at_a_time = max(1, _MOST_HELD // (num_groups * num_seeds))
    for start in range(0, trials, at_a_time):
        systems = simulate(corpus, min(at_a_time, trials - start), num_groups, num_seeds, seed_spread, rng)
        for name, metric in METRICS.items():
            first, second = (jackknife(each, metric) for each in systems)
            found = interval(first, fraction=True)
            covered.setdefault(f"{name}_level", []).append(covers(found, expected[name]))
            covered.setdefault(f"{name}_gain", []).append(covers(interval(first.minus(second)), 0))
        if bootstrap:
            covered.setdefault("f1_macro_gain_bootstrap", []).append(_bootstrap_covers(systems, rng))
    return {name: round(float(np.concatenate(each).mean()), 4) for name, each in covered.items()}


def measure_areas(
    corpus: AreaCorpus, trials: int, num_groups: int, num_seeds: int, seed_spread: float, seed: int = 1
) -> dict[str, float]:
    """Return the coverage of one cell of AUROC."""
    rng = np.random.default_rng([seed, num_groups, num_seeds])
    expected, at_a_time = true_area(corpus, seed_spread), trials_at_a_time(corpus, num_groups, num_seeds)
    level, gain = [], []
    for start in range(0, trials, at_a_time):
        drawn = min(at_a_time, trials - start)
        first, second = simulate_areas(corpus, drawn, num_groups, num_seeds, seed_spread, rng)
        level.append(covers(interval(first, fraction=True), expected))
        gain.append(covers(interval(first.minus(second)), 0))
    covered = {"auroc_level": level, "auroc_gain": gain}
    return {name: round(float(np.concatenate(each).mean()), 4) for name, each in covered.items()}


def covers(found: intervals.Interval, expected: float) -> NDArray[np.bool_]:
    covers: NDArray[np.bool_] = (found.low - 1e-12 <= expected) & (expected <= found.high + 1e-12)
    return covers


def _bootstrap_covers(systems: list[GroupCounts], rng: np.random.Generator, draws: int = 1_000) -> NDArray[np.bool_]:
    """Whether percentile intervals of draws of groups and seeds hold a difference of 0, (trials,)."""
    trials, num_seeds, num_groups, _ = systems[0].found.shape
    covers = np.empty(trials, dtype=bool)
    for i in range(trials):
        times = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=draws).astype(float)
        weights = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=draws) / num_seeds
        scored = [
            (f1_macro(times @ each.true[i], times @ each.found[i], times @ each.right[i]) * weights.T).sum(axis=0)
            for each in systems
        ]
        low, high = np.percentile(scored[0] - scored[1], [2.5, 97.5])
        covers[i] = low <= 1e-12 and high >= -1e-12
    return covers


def main(arguments: list[str]) -> int:
    """Measure every cell that is asked for."""
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals.")
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--groups", type=int, nargs="+", default=[3, 5, 10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    parser.add_argument("--corpora", nargs="+", choices=[*CORPORA, *AREAS], default=[*CORPORA, *AREAS])
    parser.add_argument("--seed-spread", type=float, nargs="+", default=[0.0, 0.3, 0.5, 1.0])
    parser.add_argument("--bootstrap", action="store_true")
    asked = parser.parse_args(arguments)
    # So that what fewer groups and seeds give is measured as well.
    intervals.FEWEST_GROUPS, intervals.FEWEST_EFFECTIVE_GROUPS, intervals.FEWEST_SEEDS = 2, 0.0, 2  # type: ignore[misc]
    for num_groups in asked.groups:
        for num_seeds in asked.seeds:
            for name in asked.corpora:
                # One seed's interval is of that model.
                for spread in asked.seed_spread if num_seeds > 1 else [0.0]:
                    cell: dict[str, Any] = {
                        "groups": num_groups, "seeds": num_seeds, "corpus": name, "seed_spread": spread,
                    }  # fmt: skip
                    if name in AREAS:
                        cell |= measure_areas(AREAS[name], asked.trials, num_groups, num_seeds, spread)
                    else:
                        cell |= measure(CORPORA[name], asked.trials, num_groups, num_seeds, spread, asked.bootstrap)
                    print(json.dumps(cell), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
