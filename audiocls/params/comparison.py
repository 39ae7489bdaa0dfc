"""The section `comparison` of a params file: what `balance-flow` compares. Other flows ignore it."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field

from audiocls.params.balance import SyntheticMethod
from audiocls.params.strict import Params

HeadMethod = Literal[
    "oversample",
    "undersample",
    "weighted_loss",
    SyntheticMethod,
    "tau_norm",
    "post_hoc_logit_adjustment",
    "class_thresholds",
]
EndToEndMethod = Literal[
    "oversample", "undersample", "square_root", "progressive", "weighted_loss", "focal", "logit_adjusted", "ldam"
]
SLOW: Final = ("smote_tomek", "smote_enn")
"""They search the neighbors of every row, which takes minutes; the others take seconds."""


class ComparisonParams(Params):
    """Which balance methods to compare with `none`, and with how many seeds."""

    methods: list[HeadMethod] | None = Field(
        None,
        description="Methods that only change the head, on the embeddings of one encoder. null: all except smote_tomek "
        "and smote_enn, which take minutes.",
    )
    end_to_end: list[EndToEndMethod] = Field(
        default_factory=list,
        description="Methods that train the whole model, once per seed; `none` is then trained once per seed too.",
    )
    seeds: int = Field(
        5,
        ge=1,
        le=100,
        description="Number of seeds per method, counted up from the run's `seed`. With one, intervals hold for these "
        "models; with two that differ there is no interval and no verdict.",
    )


HEAD_METHODS: Final[tuple[HeadMethod, ...]] = get_args(HeadMethod)
