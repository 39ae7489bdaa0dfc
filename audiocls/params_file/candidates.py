"""The candidates of a comparison of balance methods: each is a section `balance` of a run that can be trained.

Heads are compared on the embeddings of one encoder. If `model.pretrained` is set and nothing is trained end to end,
that encoder is used unchanged. Otherwise the model is first trained without balancing: this is `none`, and the heads
are those of `decoupled` and of the methods that adjust a trained head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import TypeAdapter

from audiocls.errors import ParamsError
from audiocls.params import (
    FOR_THE_ENCODER,
    HEAD_METHODS,
    SLOW,
    WITHOUT_TRAINING,
    BalanceParams,
    ComparisonParams,
    Decoupled,
    EmbeddingBalance,
    HeadMethod,
    HeadOnly,
    NoBalance,
    RunParams,
    SyntheticMethod,
    TrainingParams,
)

NONE: Final = "none"
_FITTED: Final = {"tau_norm": {"tau": None}, "post_hoc_logit_adjustment": {"tau": None}, "class_thresholds": {}}
_BALANCE: Final[TypeAdapter[BalanceParams]] = TypeAdapter(BalanceParams)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One compared method, with the section `balance` of a run that uses it."""

    name: str
    balance: BalanceParams
    end_to_end: bool = False


def trains_encoder(params: RunParams) -> bool:
    """Return whether a comparison trains the encoder instead of using `model.pretrained` unchanged."""
    return params.model.pretrained is None or bool(params.comparison.end_to_end)


def list_candidates(params: RunParams) -> list[Candidate]:
    """List the candidates, `none` first.

    If the section `balance` names a method, its settings are used for that method. If it trains a head on embeddings,
    its settings are used for all heads, so that they differ only in the method. All other settings are defaults.

    Raises:
        ParamsError: The section asks for another layer than the last, or clips have any number of labels.
    """
    if params.is_multi_label:
        raise ParamsError(
            "data.labels = 'multi': balance methods are compared for clips with one label each; train with one method "
            "after another, and compare the runs"
        )
    if getattr(params.balance, "layer", "last") != "last":
        raise ParamsError("balance.layer: methods are compared on the last layer; leave it out for the comparison")
    trained = trains_encoder(params)
    heads = [_head(method, params, trained) for method in _methods(params.comparison, trained)]
    whole = [
        Candidate(f"{method}, end to end", _section({"method": method}, params), end_to_end=True)
        for method in params.comparison.end_to_end
    ]
    return [Candidate(NONE, NoBalance(), end_to_end=trained), *heads, *whole]


def _methods(comparison: ComparisonParams, trained: bool) -> list[HeadMethod]:
    asked = comparison.methods
    if asked is None:
        asked = [method for method in HEAD_METHODS if method not in SLOW]
    # There is no method that trains without balancing, and then the head with a weighted loss.
    return [method for method in asked if not (trained and method == "weighted_loss")]


def _head(method: HeadMethod, params: RunParams, trained: bool) -> Candidate:
    if method in _FITTED:
        return Candidate(method, _section({"method": method} | _FITTED[method], params))
    if trained:
        section = {"method": "decoupled", "resampling": method, "no_border": "smote"}
        return Candidate(f"decoupled, {method}", _section(section | _shared(method, params), params))
    extra = {"no_border": "smote"} | _shared(method, params) if method in get_args(SyntheticMethod) else {}
    return Candidate(method, _section({"method": method} | extra, params))


def _shared(method: HeadMethod, params: RunParams) -> dict[str, Any]:
    """Return the settings for training heads on embeddings that the section `balance` gives, if any."""
    own = params.balance
    if not isinstance(own, HeadOnly):
        return {}
    given = own.model_dump(include=own.model_fields_set - {"method", "resampling", "layer"})
    if (method == "undersample") != (getattr(own, "resampling", None) == "undersample"):
        given.pop("counts", None)  # counts fit either oversampling or undersampling
    return given


def _section(section: Mapping[str, Any], params: RunParams) -> BalanceParams:
    """Build a section from its keys, or return the run's own if it has the same method."""
    own = params.balance
    same = own.method == section["method"]
    if same and (not isinstance(own, Decoupled) or own.resampling == section["resampling"]):
        return own
    return _BALANCE.validate_python(dict(section))


def params_to_train(params: RunParams, candidate: Candidate) -> RunParams:
    """Return the params to train a candidate as it was compared, without those that have no effect."""
    changed: dict[str, Any] = {"balance": candidate.balance, "comparison": ComparisonParams()}
    if not trains_encoder(params):
        # The comparison used a frozen encoder and clips without augmentation.
        frozen = {"freeze": "encoder", "freeze_layers": None, "lora": None}
        changed |= {"model": params.model.model_copy(update=frozen), "augmentation": []}
        idle = set(FOR_THE_ENCODER)
        if isinstance(candidate.balance, EmbeddingBalance):
            idle = set(TrainingParams.model_fields) - set(WITHOUT_TRAINING)
        changed["training"] = TrainingParams(**params.training.model_dump(exclude=idle))
    return params.model_copy(update=changed)
