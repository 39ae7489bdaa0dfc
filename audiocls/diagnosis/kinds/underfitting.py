"""Underfitting: the model does not even recognize its training clips."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.kinds.truncation import explained_by_truncation
from audiocls.diagnosis.measures import mean_interval, single, slope_interval
from audiocls.diagnosis.remedies import as_flow, rounded, usable
from audiocls.metrics import Interval
from audiocls.params import RunParams

_MOST_TIMES = 100
_TRAVELS = 10
"""How many times its own size a weight can move in a training that is long enough."""


def find_underfitting(evidence: Evidence) -> Finding | None:
    """Look at what training clips the model does not recognize, and at the curves of loss and gradient."""
    parts = error_parts(evidence)
    value, low, _ = single(parts.underfitting)
    left = parts.unlearned * (1 - explained_by_truncation(evidence))
    cause = _cause(evidence, parts.training)
    # Unless the learning rate is wrong, what is surely not learned has to be more than validation can miss. That is
    # NaN, and nothing is found, if validation has too few groups.
    limit = 0.0 if cause.startswith("rate") else parts.visible
    if not (low > limit and left > np.nan_to_num(parts.visible)):
        return None
    sentence, overrides = _words(evidence, cause)
    return Finding(
        "underfitting",
        cause,
        f"Recall is only {1 - value:.2f} on the clips that the model was trained on. {sentence}",
        measured=(Figure.of("recall on training clips", parts.training), *_curves(evidence)),
        look_at=("history.jsonl",),
        overrides=usable(evidence.params, overrides),
        gain=left,
    )


def _cause(evidence: Evidence, training: Interval) -> str:
    constant = single(training)[1] <= float(evidence.priors.max())  # as good as to always answer one class
    travel = _travel(evidence)
    if travel < 1 or (np.isnan(travel) and constant and _norms_stay(evidence)):
        return "rate_too_low"
    if _jump(evidence) > 1 or constant or _rises(evidence):
        return "rate_too_high"
    if single(_end_slope(evidence))[2] < 0:
        return "too_short"
    return "small_model"


def _words(evidence: Evidence, cause: str) -> tuple[str, Iterator[str]]:
    params = evidence.params
    rate = params.training.learning_rate
    if cause == "rate_too_low":
        far = "" if np.isnan(_travel(evidence)) else f" {_travel(evidence):.2g} times their size"
        times = _times(evidence)
        return (
            f"The learning rate is too low: its sum over all steps lets weights move only{far}.",
            iter((f"training.learning_rate={rounded(rate * times)}", _longer(params, 10))),
        )
    if cause == "rate_too_high":
        return (
            "The learning rate is too high: a step replaces the weights, or the loss rose or never fell.",
            iter(f"training.learning_rate={rounded(rate / times)}" for times in (_times_lower(evidence), 10.0, 3.0)),
        )
    longer = _longer(params, 3)
    if cause == "too_short":
        return "The training loss is still falling: train for longer.", iter((longer, *_larger(params)))
    return (
        "The training loss no longer falls: the model is too small, or the classes cannot be told apart.",
        iter((*_larger(params), longer)),
    )


def _longer(params: RunParams, times: int) -> str:
    training = params.training
    if training.max_steps is not None:
        return f"training.max_steps={times * training.max_steps}"
    return f"training.epochs={rounded(times * training.epochs)}"


def _times(evidence: Evidence) -> float:
    """Return by how much to raise the learning rate, as a power of the square root of ten."""
    wanted = _TRAVELS / _travel(evidence) if _travel(evidence) > 0 else 10.0
    return float(np.clip(10 ** (round(2 * np.log10(wanted)) / 2), 3, _MOST_TIMES))


def _times_lower(evidence: Evidence) -> float:
    """Return by how much to lower the learning rate: so that a step moves weights by a twentieth of their size."""
    jump = _jump(evidence)
    return 10.0 if np.isnan(jump) else float(np.clip(10 ** (round(2 * np.log10(20 * jump)) / 2), 3, _MOST_TIMES))


def _travel(evidence: Evidence) -> float:
    """Return how far a weight can move in all steps, in units of the root mean square of the first weights.

    A step of Adam moves a weight by about the learning rate at most. It is NaN with other optimizers, and for
    pretrained weights, which need not move far.
    """
    steps = evidence.history["step"].max() if len(evidence.history) else np.nan
    return float(_jump(evidence) * steps * _mean_of_peak(evidence))


def _jump(evidence: Evidence) -> float:
    """Return how far a weight moves in a step at the peak of the learning rate, in units as of `_travel`.

    It is NaN if only the last step was logged, at which a schedule has come down to 0.
    """
    rates = evidence.measured("train/learning_rate")
    known = evidence.params.training.optimizer == "adamw" and len(rates) and rates.max() > 0
    return float(rates.max() / evidence.weight_size) if known else float("nan")


def _mean_of_peak(evidence: Evidence) -> float:
    rates = evidence.measured("train/learning_rate")
    return float(rates.mean() / rates.max()) if len(rates) and rates.max() > 0 else float("nan")


def _norms_stay(evidence: Evidence) -> bool:
    """Return whether the gradients of the second half are as large as at the beginning."""
    norms = evidence.measured("train/grad_norm")
    _, low, high = (
        single(mean_interval(np.log(norms[len(norms) // 2 :] / norms[:2].mean()))) if len(norms) else (0, 1, 0)
    )
    return low <= 0 <= high


def _rises(evidence: Evidence) -> bool:
    """Return whether the training loss was clearly above its beginning."""
    losses = evidence.measured("train/loss")
    if len(losses) < 8:
        return False
    second = losses[len(losses) // 2 :]
    noise = float(np.std(np.diff(second), ddof=1)) / np.sqrt(2)
    # The first value is of one batch, and each other one the mean of ten.
    return bool(losses[1:].max() - losses[0] > 4 * noise * np.sqrt(11))


def _end_slope(evidence: Evidence) -> Interval:
    losses = evidence.measured("train/loss")
    return slope_interval(losses[2 * len(losses) // 3 :])


def _curves(evidence: Evidence) -> tuple[Figure, ...]:
    losses, norms = evidence.measured("train/loss"), evidence.measured("train/grad_norm")
    if not len(losses):
        return ()
    end = losses[2 * len(losses) // 3 :]
    found = [Figure("first training loss", float(losses[0])), Figure.of("last training loss", mean_interval(end))]
    slope = _end_slope(evidence)
    found += [] if np.isnan(slope.value) else [Figure.of("slope of the last third", slope)]
    found += [] if np.isnan(_travel(evidence)) else [Figure("sum of the steps per weight", _travel(evidence))]
    if len(norms):
        found.append(Figure("median gradient norm", float(np.median(norms))))
    return tuple(found)


def _larger(params: RunParams) -> Iterator[str]:
    if params.model.freeze == "encoder":
        yield "model.freeze=none"
    if params.model.family == "logmel-resnet":
        present = params.model.config
        channels = present.get("channels", [32, 64, 128])
        wide = [max(32, 2 * int(each)) for each in channels]
        yield f"model.config.channels={as_flow([*wide, 2 * wide[-1]] if len(wide) < 3 else wide)}"
        yield f"model.config.num_mel_bins={2 * int(present.get('num_mel_bins', 32))}"
    elif params.model.pretrained is None:
        yield f"model.config.hidden_size={2 * int(params.model.config.get('hidden_size', 128))}"
    yield f"training.learning_rate={rounded(3 * params.training.learning_rate)}"
