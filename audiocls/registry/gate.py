"""Decides whether a challenger replaces the champion, from the answers of both to the same test clips.

Every check is paired: it rests on the difference between two answers to one clip, and on its 95 % interval over groups.
A loss refuses a challenger if the interval shows that it is larger than allowed. With too few groups for an interval,
the loss itself must be larger than allowed, and more clips must have been lost than won than a fair coin explains (an
exact sign test at 5 %). Clips of a group resemble each other, so that test refuses rather too often than too seldom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from audiocls.errors import ParamsError, counted, name_some
from audiocls.evaluation import NAMES, Answers
from audiocls.metrics import FEWEST_GROUPS, GroupCounts, Interval, f1_macro, interval, jackknife
from audiocls.params import GateParams

_SIGNIFICANT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Side:
    """A model in the gate.

    Attributes:
        answers: To the test clips.
        corrupted: To corrupted clips, by the kind of corruption; the clips are the same for both sides.
        compute_ratio: Seconds of computing per second of audio on a CPU, the least of some turns; None: not measured.
        weight_bytes: Size of the weights; None: not compared.
    """

    answers: Answers
    corrupted: Mapping[str, Answers]
    compute_ratio: float | None = None
    weight_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One reason for or against a challenger."""

    name: str
    passed: bool
    sentence: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the challenger is promoted, and all checks, those that failed first."""

    promote: bool
    metric: str
    checks: tuple[Check, ...]

    @property
    def sentence(self) -> str:
        """The decision in words."""
        failed = [check.sentence for check in self.checks if not check.passed]
        return self.checks[0].sentence if not failed else " ".join(failed)

    def as_dict(self) -> dict[str, Any]:
        """Return what is written as JSON."""
        return {"promote": self.promote, "metric": self.metric, "checks": [asdict(check) for check in self.checks]}


def decide(
    params: GateParams,
    challenger: Side,
    champion: Side,
    labels: Sequence[str],
    slices: Mapping[str, NDArray[np.int64]] | None = None,
) -> Decision:
    """Compare a challenger with the champion.

    Args:
        params: The rule, and what is allowed.
        challenger: Answers to the test clips.
        champion: Answers to the same clips, in the same order.
        labels: Class names.
        slices: Rows of the test clips, by the name of the slice.

    Raises:
        ParamsError: `gate.metric` is not one of clips with one label, or with any number.
    """
    metric = _metric_of(params, challenger.answers)
    checks = [_gain(params, metric, challenger.answers, champion.answers)]
    checks += _classes(params, challenger.answers, champion.answers, labels)
    checks += _slices(params, challenger.answers, champion.answers, slices or {})
    checks += _corruptions(params, challenger, champion)
    checks += _costs(params, challenger, champion)
    return _decided(metric, checks)


def decide_first(params: GateParams, challenger: Answers, training_counts: NDArray[np.int64]) -> Decision:
    """Compare the first model of a name with the answer that needs no model: always the most frequent class.

    Args:
        params: The metric.
        challenger: Answers to the test clips.
        training_counts: Training clips of each class, (num_classes,).
    """
    metric = _metric_of(params, challenger)
    constant = np.zeros_like(challenger.predicted)
    if constant.ndim == 1:
        constant[:] = training_counts.argmax()
        yardstick = Answers(challenger.targets, constant, challenger.groups, challenger.num_classes)
    else:
        fractions = training_counts / max(int(training_counts.sum()), 1)
        scores = np.tile(fractions, (len(challenger), 1))
        yardstick = Answers(
            challenger.targets, scores >= fractions.max(), challenger.groups, challenger.num_classes, scores
        )
    gain = _difference(metric, challenger, yardstick)
    passed = bool(gain.low > 0)
    what = "the most frequent class alone"
    sentence = f"There is no champion, and {_in_words(metric, gain)} against {what}" + (
        "." if passed else f", which does not show that the model is better than {what}."
    )
    return _decided(metric, [Check("no champion", passed, sentence, _figures(gain))])


def _decided(metric: str, checks: list[Check]) -> Decision:
    return Decision(all(c.passed for c in checks), metric, tuple(sorted(checks, key=lambda check: check.passed)))


def _metric_of(params: GateParams, answers: Answers) -> str:
    known = NAMES[answers.probabilities is not None]
    if params.metric != "auto":
        if params.metric not in known:
            kind = "one label" if answers.probabilities is None else "any number of labels"
            raise ParamsError(
                f"gate.metric = {params.metric}: clips have {kind}; use auto or one of {name_some(known)}."
            )
        return params.metric
    return "f1_macro" if answers.probabilities is None else "map_macro"


def _gain(params: GateParams, metric: str, challenger: Answers, champion: Answers) -> Check:
    gain = _difference(metric, challenger, champion)
    least = params.margin if params.rule == "better" else -params.margin
    passed = bool(gain.low > least)  # False for NaN, with too few groups
    if np.isnan(gain.low):
        why = f"{len(np.unique(challenger.groups))} groups are too few for an interval, so nothing can be shown."
    elif passed:
        why = f"which is {'better' if params.rule == 'better' else 'not worse'} by the rule (above {least:+.3f})."
    else:
        why = f"which does not show a gain above {least:+.3f}."
    return Check("gain", passed, f"{_in_words(metric, gain)} against the champion, {why}", _figures(gain))


def _classes(params: GateParams, challenger: Answers, champion: Answers, labels: Sequence[str]) -> Iterator[Check]:
    counts = [_counts(side) for side in (challenger, champion)]
    for index in np.flatnonzero(counts[0].true.sum(axis=(0, 1))).tolist():
        own = [each.of_classes(np.array([index])) for each in counts]
        gain = interval(jackknife(own[0], f1_macro).minus(jackknife(own[1], f1_macro)))
        if (counts[0].true[0, :, index] > 0).sum() < FEWEST_GROUPS:  # of the class
            gain = Interval(gain.value, np.nan, np.nan)
        of_class = challenger.targets == index if challenger.targets.ndim == 1 else challenger.targets[:, index] == 1
        yield _no_drop(
            f"class {labels[index]}",
            "F1",
            gain,
            params.max_class_drop,
            _right(challenger)[of_class],
            _right(champion)[of_class],
        )


def _slices(
    params: GateParams, challenger: Answers, champion: Answers, slices: Mapping[str, NDArray[np.int64]]
) -> Iterator[Check]:
    for name, rows in slices.items():
        ours, theirs = challenger.take(rows), champion.take(rows)
        gain = _difference(ours.tested, ours, theirs)
        yield _no_drop(f"slice {name}", ours.tested, gain, params.max_slice_drop, _right(ours), _right(theirs))


def _corruptions(params: GateParams, challenger: Side, champion: Side) -> Iterator[Check]:
    for kind, ours in challenger.corrupted.items():
        theirs = champion.corrupted[kind]
        gain = _difference(ours.tested, ours, theirs)
        yield _no_drop(
            f"corruption {kind}", ours.tested, gain, params.max_corruption_drop, _right(ours), _right(theirs)
        )


def _costs(params: GateParams, challenger: Side, champion: Side) -> Iterator[Check]:
    if challenger.compute_ratio is not None and champion.compute_ratio is not None:
        ratio = challenger.compute_ratio / max(champion.compute_ratio, 1e-9)
        yield _ratio("latency", "The computing time per second of audio", ratio, params.max_latency_ratio)
    if challenger.weight_bytes is not None and champion.weight_bytes is not None:
        ratio = challenger.weight_bytes / max(champion.weight_bytes, 1)
        yield _ratio("size", "The size of the weights", ratio, params.max_size_ratio)


def _ratio(name: str, what: str, ratio: float, most: float) -> Check:
    passed = ratio <= most
    sentence = f"{what} is {ratio:.2f} times the champion's; at most {most:g} is allowed."
    return Check(name, passed, sentence, {"ratio": ratio, "most": most})


def _no_drop(
    name: str, metric: str, gain: Interval, allowed: float, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]
) -> Check:
    """Check that a loss larger than allowed is not shown."""
    value, high = float(np.squeeze(gain.value)), float(np.squeeze(gain.high))
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if not np.isnan(high):
        passed = not high < -allowed
        basis = f"[{float(np.squeeze(gain.low)):+.3f}, {high:+.3f}]"
    else:
        by_chance = binomtest(lost, won + lost, alternative="greater").pvalue if won + lost else 1.0
        passed = not (value < -allowed and by_chance < _SIGNIFICANT)
        basis = f"no interval with so few groups; {counted(lost, 'clip')} lost and {won:,} won"
    sentence = f"{name}: {metric} {value:+.3f} ({basis}); a loss of {allowed:g} is allowed."
    return Check(name, passed, sentence, _figures(gain) | {"allowed": allowed, "won": won, "lost": lost})


def _difference(metric: str, ours: Answers, theirs: Answers) -> Interval:
    return interval(ours.jackknifes()[metric].minus(theirs.jackknifes()[metric]))


def _counts(answers: Answers) -> GroupCounts:
    if answers.targets.ndim == 1:
        return GroupCounts.of(answers.targets, answers.predicted[None], answers.groups, answers.num_classes)
    known = ~np.isnan(answers.targets)
    return GroupCounts.of_label_sets(known & (answers.targets == 1), known & answers.predicted, answers.groups)


def _right(answers: Answers) -> NDArray[np.bool_]:
    """Return which clips are right, (num_clips,)."""
    if answers.targets.ndim == 1:
        right: NDArray[np.bool_] = answers.targets == answers.predicted
        return right
    wrong = ~np.isnan(answers.targets) & ((answers.targets == 1) != answers.predicted)
    return ~wrong.any(axis=1)


def _in_words(metric: str, gain: Interval) -> str:
    value, low, high = (float(np.squeeze(end)) for end in (gain.value, gain.low, gain.high))
    ends = "" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
    return f"{metric} {value:+.3f}{ends}"


def _figures(gain: Interval) -> dict[str, float | None]:
    ends = {name: float(np.squeeze(getattr(gain, name))) for name in ("value", "low", "high")}
    return {name: None if np.isnan(end) else end for name, end in ends.items()}
