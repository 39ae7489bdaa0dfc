"""The summary of a comparison of runs, in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from audiocls.comparison.flips import BROKEN, FIXED
from audiocls.comparison.paired import LOWER_IS_BETTER, NAMES, Compared
from audiocls.comparison.run_facts import Facts, count_flips
from audiocls.errors import counted
from audiocls.markdown import escaped
from audiocls.metrics import FEWEST_GROUPS, Interval

_SHOWN_CLASSES: Final = 15
_SHOWN_PARAMS: Final = 12


def summarise_runs(facts: Facts, folder: Path) -> str:
    """Return the verdict, the tables and where the page is."""
    lines: list[str] = []
    for each in headlines(facts):
        lines += [f"**{escaped(each)}**", ""]
    lines += [*(f"- {name}: {escaped(text)}" for name, text in facts.legend), ""]
    for each in facts.common.differences:
        lines += [escaped(each), ""]
    lines += [about(facts), "", *_table(facts), ""]
    lines += [*_classes(facts), *_params(facts)]
    lines += ["", f"Page with the clips to listen to: `{folder / 'comparison.html'}`"]
    return "\n".join(lines)


def headlines(facts: Facts) -> list[str]:
    """Return a sentence for each run after the first: what the leading metric shows."""
    leading = facts.metrics[0]
    said = []
    for name, gain, verdict, flips in zip(
        facts.names[1:], leading.differences, leading.verdicts, facts.flips, strict=True
    ):
        counts = count_flips(flips)
        clips = f"{counted(counts[FIXED], 'clip')} fixed, {counts[BROKEN]} broken"
        said.append(f"{name} against {facts.names[0]}: {verdict}. {NAMES[leading.metric]} {signed(gain)}; {clips}.")
    return said


def about(facts: Facts) -> str:
    """Say what is compared, and what the intervals hold for."""
    clips, groups = counted(len(facts.common.clips), "test clip"), counted(facts.num_groups, "group")
    if facts.num_groups < FEWEST_GROUPS:
        return f"{clips} of {groups}: too few groups for intervals, which need at least {FEWEST_GROUPS}."
    return (
        f"{clips} of {groups}. 95 % intervals in brackets. They hold for other groups and these models; other seeds of "
        "the same params may differ. Differences are on the same clips."
    )


def _table(facts: Facts) -> list[str]:
    heads = ["", *facts.names, *(f"{name} - {facts.names[0]}" for name in facts.names[1:])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return lines + [f"| {' | '.join([_title(each), *_cells(each)])} |" for each in facts.metrics]


def _title(each: Compared) -> str:
    return f"{NAMES[each.metric]}{' (lower is better)' if each.metric in LOWER_IS_BETTER else ''}"


def _cells(each: Compared) -> list[str]:
    gains = zip(each.differences, each.verdicts, strict=True)
    return [*map(levelled, each.scores), *(f"{signed(gain)}, {verdict}" for gain, verdict in gains)]


def levelled(score: Interval) -> str:
    """Write a score with its interval: 0.912 [0.87, 0.94]."""
    value, low, high = (float(np.squeeze(end)) for end in (score.value, score.low, score.high))
    return f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def signed(gain: Interval) -> str:
    """Write a difference with its interval: +0.021 [-0.004, +0.046]."""
    value, low, high = (float(np.squeeze(end)) for end in (gain.value, gain.low, gain.high))
    return f"{value:+.3f}" if np.isnan(low) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _classes(facts: Facts) -> list[str]:
    """List the classes whose first metric differs the most."""
    changed = [each for each in facts.classes if any(gain.value != 0 for gain in each.metrics[0].differences)]
    if not changed:
        return ["Every class has the same score in all runs."]
    changed.sort(key=lambda each: -max(abs(float(gain.value)) for gain in each.metrics[0].differences))
    name = NAMES[changed[0].metrics[0].metric]
    heads = [
        "class",
        "clips",
        "groups",
        *facts.names,
        *(f"{n} - {facts.names[0]}" for n in facts.names[1:]),
    ]
    lines = [
        f"{name} by class, the largest difference first:",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for each in changed[:_SHOWN_CLASSES]:
        row = [escaped(each.label), str(each.clips), str(each.groups), *_cells(each.metrics[0])]
        lines.append(f"| {' | '.join(row)} |")
    rest = len(facts.classes) - min(len(changed), _SHOWN_CLASSES)
    return [*lines, "", *([f"{counted(rest, 'more class is', 'more classes are')} on the page."] if rest else [])]


def _params(facts: Facts) -> list[str]:
    if not facts.params:
        return ["", "No params differ, or they are unknown."]
    heads = ["param", *facts.names]
    lines = ["", "Params that differ:", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key, values in list(facts.params.items())[:_SHOWN_PARAMS]:
        cells = ["" if value is None else escaped(value[:80]) for value in values]
        lines.append(f"| {' | '.join([f'`{key}`', *cells])} |")
    rest = len(facts.params) - _SHOWN_PARAMS
    return [*lines, *(["", f"{counted(rest, 'more param')} on the page."] if rest > 0 else [])]
