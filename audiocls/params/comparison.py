"""The section `comparison` of a params file: what `balance-flow` compares. Other flows do not look at it."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field

from audiocls.params.balance import Blending
from audiocls.params.strict import Params

HeadMethod = Literal[
    "oversample", "undersample", "weighted_loss", Blending, "tau_norm", "post_hoc_logit_adjustment", "class_thresholds"
]
EndToEndMethod = Literal[
    "oversample", "undersample", "square_root", "progressive", "weighted_loss", "focal", "logit_adjusted", "ldam"
]
SLOW: Final = ("smote_tomek", "smote_enn")
"""They look for the neighbours of every row, which takes minutes where the others take seconds."""


class ComparisonParams(Params):
    """Which balance methods are compared with `none`, and how often."""

    methods: list[HeadMethod] | None = Field(
        None,
        description="Methods that change the head alone, on the embeddings of one encoder. null: all but smote_tomek "
        "and smote_enn, which take minutes.",
    )
    end_to_end: list[EndToEndMethod] = Field(
        default_factory=list,
        description="Methods by which the whole model is trained, once a seed, and once more a seed for `none`.",
    )
    seeds: int = Field(5, ge=1, le=100, description="Repetitions of each method: the run's seed and those after it.")


HEAD_METHODS: Final[tuple[HeadMethod, ...]] = get_args(HeadMethod)
