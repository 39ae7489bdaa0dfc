"""Compute how well any interval over few seeds can cover: why there is none of two seeds.

    python benchmarks/interval_bound.py

The model: many groups, whose variance is known, so that the interval of one model has a half width of 1.96 standard
errors; a fraction `interaction` of that variance is the interaction of groups and seeds. The variance between the
seeds' means is known only from the seeds, by a chi-squared statistic. A half width may depend on that statistic in any
way, but it is never below that of one model, and the coverage is at most 97 % if the seeds do not matter. Of all such
half widths, the one with the largest coverage at a given variance between seeds is found for each value of the
statistic separately (a Lagrange multiplier holds the 97 %, as in the lemma of Neyman and Pearson).

Prints one JSON line per number of seeds and interaction: the largest coverage possible at the worst variance between
seeds, and that variance, relative to the one between groups. No rule can be between 93 and 97 % where it is below 93 %.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, norm

MOST = 0.97
SPREADS = np.geomspace(0.2, 12, 25)
STATISTIC = np.geomspace(1e-5, 1e4, 1_500)
HALF_WIDTHS = np.append(np.geomspace(norm.ppf(0.975), 15, 120), np.inf)

Floats = NDArray[np.float64]


def density(num_seeds: int, expected: float) -> Floats:
    """Return the probabilities of the values of the statistic, which has this expectation."""
    freedom = num_seeds - 1
    found: Floats = np.diff(chi2.cdf(freedom / expected * STATISTIC, freedom), prepend=0)
    return found


def best_coverage(num_seeds: int, interaction: float, spread: float) -> float:
    """Return the largest coverage at this variance between seeds of any half width that is allowed."""
    none, some = density(num_seeds, interaction), density(num_seeds, interaction + spread)
    covered_none, covered_some = (2 * norm.cdf(HALF_WIDTHS / np.sqrt(total)) - 1 for total in (1, 1 + spread))

    def coverage(weight: float) -> tuple[float, float]:
        chosen = np.argmax(np.outer(some, covered_some) - np.exp(weight) * np.outer(none, covered_none), axis=1)
        return float(none @ covered_none[chosen]), float(some @ covered_some[chosen])

    weight = brentq(lambda each: coverage(each)[0] - MOST, -20, 20, xtol=1e-4)
    return coverage(weight)[1]


def main() -> None:
    """Print the bound for two, three and five seeds."""
    for num_seeds in (2, 3, 5):
        for interaction in (0.25, 0.5, 1.0):
            covered, spread = min((best_coverage(num_seeds, interaction, each), each) for each in SPREADS)
            found = {"seeds": num_seeds, "interaction": interaction, "largest_coverage": round(covered, 3)}
            print(json.dumps(found | {"at_variance_between_seeds": round(spread, 2)}), flush=True)


if __name__ == "__main__":
    main()
