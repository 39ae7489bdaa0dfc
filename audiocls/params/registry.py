"""The sections `registry` and `gate` of a params file: where models are registered, and when one is put into use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from audiocls.params.strict import Params


class RegistryParams(Params):
    """Where trained models are registered."""

    model: str | None = Field(
        None, min_length=1, pattern=r"^[^/:]+$", description="Name of the registered model. null: the experiment's."
    )


class GateParams(Params):
    """When a challenger replaces the champion: all checks are made on the same test clips, clip by clip."""

    rule: Literal["better", "not_worse"] = Field(
        "better",
        description="better: the 95 % interval of the gain lies above `margin`. not_worse: above minus `margin`.",
    )
    metric: Literal["auto", "f1_macro", "accuracy", "map_macro", "lwlrap", "exact_match"] = Field(
        "auto", description="Metric of the gain. auto: macro-F1, or macro mAP if clips have any number of labels."
    )
    margin: float = Field(
        0.0, ge=0, le=1, description="Gain that is needed, or with `not_worse` the loss that is allowed."
    )
    max_class_drop: float = Field(
        0.1, ge=0, le=1, description="Largest loss of F1 that a class may be shown to have: its interval is compared."
    )
    max_slice_drop: float = Field(
        0.1, ge=0, le=1, description="Largest loss that a slice of the test clips may be shown to have."
    )
    max_corruption_drop: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Largest loss that test clips with noise, coded or at another level may be shown to have.",
    )
    max_latency_ratio: float = Field(
        1.5,
        gt=0,
        description="Largest time per second of audio on a CPU, relative to the champion's; the least of 3 turns.",
    )
    max_size_ratio: float = Field(2.0, gt=0, description="Largest size of the weights, relative to the champion's.")

    @model_validator(mode="after")
    def _not_worse_needs_a_margin(self) -> GateParams:
        if self.rule == "not_worse" and self.margin == 0:
            raise ValueError("rule = not_worse needs a margin above 0: the loss that is still not worse, such as 0.02")
        return self
