"""Comparisons that are not possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from audiocls.params import RunParams
from audiocls.params_file.candidates import list_candidates, params_to_train, trains_encoder
from audiocls.params_file.conflicts import balance
from audiocls.params_file.conflicts.conflict import Conflict


def _comparison_has_methods(params: RunParams) -> Iterator[Conflict]:
    comparison = params.comparison
    if comparison.methods == [] and not comparison.end_to_end:
        yield "comparison.methods", "= []: comparison.end_to_end is empty too, so there is nothing to compare with none"
    for key, names in (("methods", comparison.methods or []), ("end_to_end", comparison.end_to_end)):
        for name, times in Counter(map(str, names)).items():
            if times > 1:
                yield f"comparison.{key}", f"= ...: {name} is listed {times} times; list it once"


def _methods_can_train_a_head(params: RunParams) -> Iterator[Conflict]:
    if "weighted_loss" in (params.comparison.methods or []) and trains_encoder(params):
        yield (
            "comparison.methods",
            "= ...: weighted_loss trains only the head if model.pretrained is used unchanged; to train the whole model "
            "with it, name it in comparison.end_to_end",
        )


def _candidates_can_be_trained(params: RunParams) -> Iterator[Conflict]:
    """Report the conflicts that a run with each end-to-end method would have."""
    for candidate in list_candidates(params) if params.comparison.end_to_end else []:
        if candidate.end_to_end:
            alone = params_to_train(params, candidate)
            for key, message in (conflict for rule in balance.RULES for conflict in rule(alone)):
                yield "comparison.end_to_end", f"= ... with {candidate.balance.method}: {key} {message}"


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _comparison_has_methods,
    _methods_can_train_a_head,
    _candidates_can_be_trained,
)
