"""How often the gate promotes: pairs of models that are equally good, and pairs of which one is better.

    python -m benchmarks.gate [--pairs 200] [--clips 1000] [--gain 0.05]

Whether a clip is right depends on how hard its group and itself are, which both models share, and on what each model
has of its own, by group and by clip. The sizes of these are those of pairs of trainings of the quickstart with other
seeds: they disagree on half as many clips as independent models would, and the variance of their differences between
groups of 25 clips is 2.5 times that of independent clips. Prints a JSON line for each accuracy and number of groups:
which fraction of the pairs was promoted, without a gain and with it.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from audiocls.evaluation import Answers
from audiocls.params import GateParams
from audiocls.registry import Decision, Side, decide

CLASSES = 8
SLICES = 12
GROUP, CLIP = 0.7, 1.0  # standard deviations of what both models share
OWN_GROUP, OWN_CLIP = 0.4, 0.65  # and of what each has of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--clips", type=int, default=1_000)
    parser.add_argument("--gain", type=float, default=0.05, help="of the better model's true accuracy")
    arguments = parser.parse_args()
    for level in (0.8, 0.9):
        for groups in (20, 40, 100, 1_000):
            line = {"accuracy": level, "clips": arguments.clips, "groups": groups, "pairs": arguments.pairs}
            for name, gain in (("promoted_without_a_gain", 0.0), (f"promoted_with_{arguments.gain:g}", arguments.gain)):
                decided = [
                    decide_pair(seed, level, gain, arguments.clips, groups).promote for seed in range(arguments.pairs)
                ]
                line[name] = sum(decided) / arguments.pairs
            print(json.dumps(line), flush=True)


def decide_pair(seed: int, level: float, gain: float, clips: int, groups: int) -> Decision:
    """Simulate the answers of two models to clips of some groups, and let the gate decide."""
    rng = np.random.default_rng([19, seed])
    targets = rng.integers(0, CLASSES, clips)
    group = np.arange(clips) % groups
    shared = rng.normal(0, GROUP, groups)[group] + rng.normal(0, CLIP, clips)
    spread = np.sqrt(GROUP**2 + CLIP**2 + OWN_GROUP**2 + OWN_CLIP**2)

    def side(accuracy: float) -> Side:
        own = rng.normal(0, OWN_GROUP, groups)[group] + rng.normal(0, OWN_CLIP, clips)
        ease = norm.ppf(accuracy) * spread - shared - own
        return Side(answers(ease), {"noise": answers(ease - 0.7 * spread)})

    def answers(ease: NDArray[np.float64]) -> Answers:
        others = (targets + rng.integers(1, CLASSES, clips)) % CLASSES
        return Answers(targets, np.where(ease > 0, targets, others), group, CLASSES)

    champion, challenger = side(level), side(level + gain)
    part = rng.integers(0, SLICES, clips)
    slices = {f"part {number}": np.flatnonzero(part == number) for number in range(SLICES)}
    names = [f"class {number}" for number in range(CLASSES)]
    return decide(GateParams(), challenger, champion, names, slices)


if __name__ == "__main__":
    main()
