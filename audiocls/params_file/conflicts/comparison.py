"""Comparisons that cannot be made as asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from audiocls.params import RunParams
from audiocls.params_file.candidates import list_contenders, params_to_train, trains_encoder
from audiocls.params_file.conflicts import balance
from audiocls.params_file.conflicts.conflict import Conflict


def _there_is_something_to_compare(params: RunParams) -> Iterator[Conflict]:
    comparison = params.comparison
    if comparison.methods == [] and not comparison.end_to_end:
        yield "comparison.methods", "= []: with no comparison.end_to_end either, there is nothing to compare with none"
    for key, names in (("methods", comparison.methods or []), ("end_to_end", comparison.end_to_end)):
        for name, times in Counter(map(str, names)).items():
            if times > 1:
                yield f"comparison.{key}", f"= ...: {name} stands {times} times in it; once is enough"


def _heads_are_of_a_method_that_has_one(params: RunParams) -> Iterator[Conflict]:
    if "weighted_loss" in (params.comparison.methods or []) and trains_encoder(params):
        yield (
            "comparison.methods",
            "= ...: weighted_loss trains the head alone only where model.pretrained stays as it is; to train the whole "
            "model by it, name it in comparison.end_to_end",
        )


def _contenders_could_be_trained(params: RunParams) -> Iterator[Conflict]:
    """Say of each method that is trained end to end what a run by it would be told."""
    for contender in list_contenders(params) if params.comparison.end_to_end else []:
        if contender.end_to_end:
            alone = params_to_train(params, contender)
            for key, message in (conflict for rule in balance.RULES for conflict in rule(alone)):
                yield "comparison.end_to_end", f"= ... with {contender.balance.method}: {key} {message}"


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _there_is_something_to_compare,
    _heads_are_of_a_method_that_has_one,
    _contenders_could_be_trained,
)
