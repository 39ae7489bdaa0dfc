"""Compare ways to combine the variances between groups and between seeds into one interval, on the same simulations.

    OMP_NUM_THREADS=1 python benchmarks/interval_rules.py [--trials N]

Prints one JSON line per rule and number of seeds, over the corpora of `benchmarks/intervals.py`, 5, 20 and 100 groups,
spreads of the seeds of 0, 0.3, 0.5 and 1.0 logits, three metrics, and both kinds of interval: the mean coverage, the
lowest and the highest of a cell, and the fraction of cells below 93 % and above 97 %.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from itertools import product

import numpy as np
from intervals import CORPORA, METRICS, Corpus, Floats, covers, simulate, truth
from scipy.stats import chi2, t as student

from audiocls.metrics import intervals
from audiocls.metrics.intervals import interval, jackknife

Variances = intervals._Variances


def _t(freedom: float | Floats) -> Floats:
    found: Floats = student.ppf(0.975, freedom)
    return found


def cochran_cox(of: Variances) -> Floats:
    """Weight the two quantiles of t by their variances (Cochran and Cox 1957, "Experimental Designs")."""
    return _weighted(of, np.maximum(of.seeds - of.interaction, 0))


def median_subtracted(of: Variances) -> Floats:
    """Subtract what the seeds' variance exceeds in half of the cases if seeds do not matter, instead of its mean."""
    freedom = of.num_seeds - 1
    return _weighted(of, np.maximum(of.seeds - chi2.median(freedom) / freedom * of.interaction, 0))


def _weighted(of: Variances, seeds: Floats) -> Floats:
    total = of.groups + seeds
    quantile = (of.groups * _t(of.freedom) + seeds * _t(of.num_seeds - 1)) / np.maximum(total, 1e-300)
    return quantile * np.sqrt(total)


def satterthwaite(of: Variances) -> Floats:
    """Use t with the effective degrees of freedom of the whole sum (Satterthwaite 1946)."""
    freedom = of.num_seeds - 1
    squares = of.groups**2 / of.freedom + of.seeds**2 / freedom + of.interaction**2 / (freedom * of.freedom)
    total = of.groups + np.maximum(of.seeds - of.interaction, 0)
    return _t(np.maximum(total**2 / np.maximum(squares, 1e-300), 1)) * np.sqrt(total)


def satterthwaite_in_two_steps(of: Variances) -> Floats:
    """First find the degrees of freedom of the seeds' component, if it is above 0 (Gaylor and Hopper 1969)."""
    there = of.seeds > of.interaction
    groups_alone = _t(of.freedom) * np.sqrt(of.groups)
    return np.where(there, np.maximum(satterthwaite(of), groups_alone), groups_alone)


def without_subtraction(of: Variances) -> Floats:
    """Add the whole variance between seeds, as if it had no interaction in it (Howe 1974)."""
    return np.sqrt(_t(of.freedom) ** 2 * of.groups + _t(of.num_seeds - 1) ** 2 * of.seeds)


RULES: dict[str, Callable[[Variances], Floats]] = {
    "present": intervals._half_width,
    "without_subtraction": without_subtraction,
    "cochran_cox": cochran_cox,
    "median_subtracted": median_subtracted,
    "satterthwaite": satterthwaite,
    "satterthwaite_in_two_steps": satterthwaite_in_two_steps,
}


def measure_rules(
    corpus: Corpus, trials: int, num_groups: int, num_seeds: int, seed_spread: float
) -> dict[str, list[float]]:
    """Return the coverage of each rule, for each metric and kind."""
    rng, expected = np.random.default_rng([1, num_groups, num_seeds]), truth(corpus, seed_spread)
    systems = simulate(corpus, trials, num_groups, num_seeds, seed_spread, rng)
    covered: dict[str, list[float]] = defaultdict(list)
    for metric, scored in METRICS.items():
        first, second = (jackknife(each, scored) for each in systems)
        for name, rule in RULES.items():
            intervals._half_width = lambda of, tail, rule=rule: rule(of)  # type: ignore[assignment, misc]
            level, gain = interval(first, fraction=True), interval(first.minus(second))
            covered[name] += [covers(level, expected[metric]).mean(), covers(gain, 0).mean()]
    return covered


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals by several rules.")
    parser.add_argument("--trials", type=int, default=400)
    asked = parser.parse_args()
    intervals.FEWEST_EFFECTIVE_GROUPS, intervals.FEWEST_SEEDS = 0.0, 2  # type: ignore[misc]
    for num_seeds in (2, 3, 5):
        covered: dict[str, list[float]] = defaultdict(list)
        for corpus, num_groups, spread in product(CORPORA.values(), (5, 20, 100), (0.0, 0.3, 0.5, 1.0)):
            for name, cells in measure_rules(corpus, asked.trials, num_groups, num_seeds, spread).items():
                covered[name] += cells
        for name, cells in covered.items():
            found = 100 * np.array(cells)
            shown = {"mean": found.mean(), "lowest": found.min(), "highest": found.max()}
            shown |= {"below_93": 100 * (found < 93).mean(), "above_97": 100 * (found > 97).mean()}
            line = {"rule": name, "seeds": num_seeds} | {key: round(float(each), 1) for key, each in shown.items()}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
