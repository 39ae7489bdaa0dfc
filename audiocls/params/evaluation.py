"""The section `evaluation` of a params file: what is chosen on validation, and how the model is tested."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audiocls.params.strict import Params

Pooling = Literal["mean", "max", "vote", "attention"]
"""How the windows of a recording become one answer; `audiocls.metrics.pooling` has the formulas."""


class EvaluationParams(Params):
    """What is chosen on validation and kept with the model, and how the model is tested."""

    pooling: Literal["auto", Pooling] = Field(
        "auto",
        description="How the windows of a long clip become one answer. mean: of the probabilities. max: of each class, "
        "normalized. vote: each window counts for its class. attention: mean weighted by the certainty of the windows. "
        "auto: mean, unless the macro-F1 of another on validation is higher by more than chance (95 % interval over "
        "groups).",
    )
    segment_minutes: float = Field(
        60.0,
        ge=0,
        description="If clips are segments of recordings, tune the thresholds of `Classifier.segments` for event F1 on "
        "at most this many minutes of whole validation recordings, and measure them on as many of test. 0: keep the "
        "default thresholds.",
    )
    robustness_clips: int = Field(
        1_000,
        ge=0,
        description="Number of test clips, drawn by the seed, that are scored again with noise, in a telephone band, "
        "encoded, louder, quieter and shifted. One window of each is scored nine times. 0: none.",
    )
    label_error_clips: int = Field(
        50_000,
        ge=0,
        description="Number of training clips, drawn by the seed, whose labels are searched for errors, together with "
        "all of validation and test; needs the extra `label-errors`. 0: search nothing.",
    )
    projection_clips: int = Field(
        5_000,
        ge=0,
        description="Number of test clips, drawn by the seed, whose embeddings are projected to two dimensions: by "
        "t-SNE up to 5,000, by PCA above. 0: none.",
    )
