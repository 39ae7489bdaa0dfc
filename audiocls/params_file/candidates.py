"""The contenders of a comparison of balance methods: each is a section `balance` of a run that can be trained.

A head is compared on the embeddings of an encoder that is there. Where `model.pretrained` names one and nothing is
trained end to end, it is that one, as it is. Else the model is trained plainly first: that is `none`, and the heads are
those of `decoupled` and of the methods that change a trained head.
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
    Blending,
    ComparisonParams,
    Decoupled,
    EmbeddingBalance,
    HeadMethod,
    HeadOnly,
    NoBalance,
    RunParams,
    TrainingParams,
)

NONE: Final = "none"
_FITTED: Final = {"tau_norm": {"tau": None}, "post_hoc_logit_adjustment": {"tau": None}, "class_thresholds": {}}
_BALANCE: Final[TypeAdapter[BalanceParams]] = TypeAdapter(BalanceParams)


@dataclass(frozen=True, slots=True)
class Contender:
    """One method that is compared, and what a run by it would have as `balance`."""

    name: str
    balance: BalanceParams
    end_to_end: bool = False


def trains_encoder(params: RunParams) -> bool:
    """Tell whether a comparison trains the encoder, or takes `model.pretrained` as it is."""
    return params.model.pretrained is None or bool(params.comparison.end_to_end)


def list_contenders(params: RunParams) -> list[Contender]:
    """List what is compared, `none` first.

    Settings of a method come from the section `balance`, where that names the same method. Where it trains a head on
    embeddings, how it does that goes for all heads, so that they differ by their method alone. All else is default.

    Raises:
        ParamsError: The section asks for another layer than the last.
    """
    if getattr(params.balance, "layer", "last") != "last":
        raise ParamsError("balance.layer: methods are compared on the last layer; leave it out for the comparison")
    trained = trains_encoder(params)
    heads = [_head(method, params, trained) for method in _methods(params.comparison, trained)]
    whole = [
        Contender(f"{method}, end to end", _section({"method": method}, params), end_to_end=True)
        for method in params.comparison.end_to_end
    ]
    return [Contender(NONE, NoBalance(), end_to_end=trained), *heads, *whole]


def _methods(comparison: ComparisonParams, trained: bool) -> list[HeadMethod]:
    asked = comparison.methods
    if asked is None:
        asked = [method for method in HEAD_METHODS if method not in SLOW]
    # No run trains plainly and then the head by a weighted loss.
    return [method for method in asked if not (trained and method == "weighted_loss")]


def _head(method: HeadMethod, params: RunParams, trained: bool) -> Contender:
    if method in _FITTED:
        return Contender(method, _section({"method": method} | _FITTED[method], params))
    if trained:
        section = {"method": "decoupled", "resampling": method, "no_border": "smote"}
        return Contender(f"decoupled, {method}", _section(section | _shared(method, params), params))
    extra = {"no_border": "smote"} | _shared(method, params) if method in get_args(Blending) else {}
    return Contender(method, _section({"method": method} | extra, params))


def _shared(method: HeadMethod, params: RunParams) -> dict[str, Any]:
    """Return what the section `balance` says of training heads on embeddings, where it says something."""
    own = params.balance
    if not isinstance(own, HeadOnly):
        return {}
    said = own.model_dump(include=own.model_fields_set - {"method", "resampling", "layer"})
    if (method == "undersample") != (getattr(own, "resampling", None) == "undersample"):
        said.pop("counts", None)  # which can be met by adding clips, or by leaving out
    return said


def _section(section: Mapping[str, Any], params: RunParams) -> BalanceParams:
    """Make a section of its keys, or take the run's own where that is of the same method."""
    own = params.balance
    same = own.method == section["method"]
    if same and (not isinstance(own, Decoupled) or own.resampling == section["resampling"]):
        return own
    return _BALANCE.validate_python(dict(section))


def params_to_train(params: RunParams, contender: Contender) -> RunParams:
    """Return the params of a run by a contender, as it was compared, without those that would do nothing in it."""
    changed: dict[str, Any] = {"balance": contender.balance, "comparison": ComparisonParams()}
    if not trains_encoder(params):
        # The encoder stayed as it is, and heard the clips as they are.
        frozen = {"freeze": "encoder", "freeze_layers": None, "lora": None}
        changed |= {"model": params.model.model_copy(update=frozen), "augmentation": []}
        idle = set(FOR_THE_ENCODER)
        if isinstance(contender.balance, EmbeddingBalance):
            idle = set(TrainingParams.model_fields) - set(WITHOUT_TRAINING)
        changed["training"] = TrainingParams(**params.training.model_dump(exclude=idle))
    return params.model_copy(update=changed)
