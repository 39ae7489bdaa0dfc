"""The section `balance` of a params file: one method and its settings.

A run has one method: oversampling combined with a weighted loss would count rare classes twice.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from audiocls.files import composed
from audiocls.params.strict import Params

Weighting = Literal["inverse_frequency", "effective_number"]
SyntheticMethod = Literal["smote", "borderline_smote", "adasyn", "smote_tomek", "smote_enn"]

_RATIO = "Oversample each class to at least this fraction of the most frequent one. null: 1, all classes are equal."
_COUNTS = "Number of clips for each named class, instead of `ratio`; other classes are unchanged. null: use `ratio`."


def _composed_names(counts: dict[str, int]) -> dict[str, int]:
    """Name each class in NFC, as the manifest does."""
    named = {composed(name): count for name, count in counts.items()}
    if len(named) < len(counts):
        raise ValueError("names one class twice, in composed and in decomposed Unicode form")
    return named


ClassCounts = Annotated[dict[str, int], AfterValidator(_composed_names)]


class NoBalance(Params):
    """Do not balance the classes."""

    method: Literal["none"] = "none"


class Oversample(Params):
    """Repeat clips of the rarer classes, drawn again in each epoch."""

    method: Literal["oversample"]
    ratio: float | None = Field(None, gt=0, le=1, description=_RATIO)
    counts: ClassCounts | None = Field(None, description=_COUNTS)


class Undersample(Params):
    """Drop clips of the frequent classes, drawn again in each epoch."""

    method: Literal["undersample"]
    ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Undersample until the rarest class has at least this fraction of every other class. null: 1, all "
        "classes are equal.",
    )
    counts: ClassCounts | None = Field(None, description=_COUNTS)


class SquareRoot(Params):
    """Draw each class in proportion to the square root of its count (Mahajan et al. 2018).

    An epoch has as many clips as the training split.
    """

    method: Literal["square_root"]


class Progressive(Params):
    """Draw classes by count in the first epoch and equally in the last (Kang et al. 2020).

    An epoch has as many clips as the training split.
    """

    method: Literal["progressive"]


class WeightedLoss(Params):
    """Weight each class in the loss; the clips are unchanged.

    With `labels: multi`, the loss of a present label is weighted by absent clips / present clips.
    """

    method: Literal["weighted_loss"]
    weighting: Weighting = Field(
        "inverse_frequency",
        description="Weight by 1 / count, or by 1 / effective number of clips (Cui et al. 2019).",
    )
    beta: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Only for effective_number. 0 weights all classes equally; values near 1 approach 1 / count. "
        "null: 0.999.",
    )


class Focal(Params):
    """Reduce the loss of clips that the model classifies with confidence (Lin et al. 2017)."""

    method: Literal["focal"]
    gamma: float = Field(2.0, ge=0, le=10, description="Strength of the reduction; 0 is cross entropy.")
    weighting: Weighting | None = Field(None, description="Also weight the classes, as weighted_loss. null: do not.")
    beta: float | None = Field(None, ge=0, lt=1, description="As in weighted_loss.")


class LogitAdjusted(Params):
    """Add tau * log(class frequency) to the logits in the loss (Menon et al. 2021)."""

    method: Literal["logit_adjusted"]
    tau: float = Field(1.0, ge=0, le=5, description="0 is cross entropy; 1 minimizes the balanced error.")


class Ldam(Params):
    """Require larger margins for rarer classes, and weight the classes late in training (Cao et al. 2019)."""

    method: Literal["ldam"]
    max_margin: float = Field(
        2.0,
        ge=0,
        le=20,
        description="Margin of the rarest class, in units of the logits: the head is not normalized, unlike in the "
        "paper.",
    )
    defer_fraction: float = Field(
        0.8, ge=0, le=1, description="Fraction of the steps after which the classes are weighted. 1: never."
    )
    beta: float = Field(0.9999, ge=0, lt=1, description="Beta of the effective number for these weights.")


class Asymmetric(Params):
    """Reduce the loss of absent labels more than that of present ones (Ridnik et al. 2021). For `labels: multi`."""

    method: Literal["asymmetric"]
    gamma_present: float = Field(0.0, ge=0, le=10, description="Reduction of the loss of present labels, as in focal.")
    gamma_absent: float = Field(4.0, ge=0, le=10, description="Reduction of the loss of absent labels, as in focal.")
    clip: float = Field(
        0.05, ge=0, lt=1, description="Absent labels with a probability of at most this have no loss. 0: none."
    )


class DistributionBalanced(Params):
    """Weight by which labels occur together, and tolerate absent labels (Wu et al. 2020). For `labels: multi`."""

    method: Literal["distribution_balanced"]
    floor: float = Field(0.1, ge=0, le=10, description="Least weight of a label; alpha in the paper.")
    slope: float = Field(10.0, gt=0, le=100, description="Slope of the weight; beta in the paper.")
    center: float = Field(
        0.2, ge=0, le=1, description="Ratio of sampling probabilities at which the slope is steepest; mu in the paper."
    )
    scale: float = Field(
        2.0, ge=1, le=20, description="How much faster the loss of absent labels falls off; lambda in the paper."
    )
    kappa: float = Field(
        0.05, ge=0, le=1, description="Margin of rare labels, as a fraction of the log-odds of their frequency."
    )


class SyntheticParams(Params):
    """How imbalanced-learn makes synthetic samples of the rarer classes."""

    ratio: float | None = Field(None, gt=0, le=1, description=_RATIO)
    counts: ClassCounts | None = Field(None, description=_COUNTS)
    neighbours: int = Field(
        5, ge=1, le=100, description="Number of nearest neighbors in the class to interpolate a clip with."
    )
    too_few: Literal["lower_neighbours", "oversample_first"] = Field(
        "lower_neighbours",
        description="What to do if a class has no more clips than `neighbours`: use as many neighbors as there are, or "
        "repeat its clips first. A class with a single clip needs oversample_first.",
    )
    no_border: Literal["stop", "smote"] = Field(
        "stop",
        description="What to do if borderline_smote or adasyn finds no clips of a class near other classes: stop, or "
        "use smote for this class.",
    )


class HeadParams(Params):
    """How a head is trained: multinomial logistic regression on standardized embeddings."""

    layer: Annotated[int, Field(ge=0)] | Literal["last", "weighted"] = Field(
        "last",
        description="Encoder layer whose output the head is trained on: the last, a layer number (0: the input of the "
        "first layer), or weighted, a sum of all layers with learned weights.",
    )
    penalty: float = Field(
        1.0, gt=0, description="L2 regularization: penalty / 2 * squared weights is added to the summed loss."
    )


class EmbeddingBalance(SyntheticParams, HeadParams):
    """Train the head on real and synthetic embeddings of a pretrained encoder, which stays frozen."""

    method: SyntheticMethod = Field(
        description="smote: interpolate between clips of a class (Chawla et al. 2002). borderline_smote: only clips "
        "near other classes (Han et al. 2005). adasyn: more samples near other classes (He et al. 2008). smote_tomek, "
        "smote_enn: smote, then drop pairs of neighbors of different classes, or clips whose neighbors are of other "
        "classes (Batista et al. 2004)."
    )


class Decoupled(SyntheticParams, HeadParams):
    """Train without balancing, then retrain the head on balanced embeddings (Kang et al. 2020, cRT)."""

    method: Literal["decoupled"]
    resampling: Literal["oversample", "undersample"] | SyntheticMethod = Field(
        "oversample", description="How the embeddings are balanced. smote and its variants add synthetic ones."
    )


class TauNorm(Params):
    """Train without balancing, then divide each class's weights by a power of their norm (Kang et al. 2020)."""

    method: Literal["tau_norm"]
    tau: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The power. null: the value of 0, 0.1, ... 1 with the best macro-F1 on validation; the head is "
        "unchanged if this does not help on held-out folds of validation.",
    )


class PostHocLogitAdjustment(Params):
    """Train without balancing, then subtract tau * log(class frequency) from the logits (Menon et al. 2021)."""

    method: Literal["post_hoc_logit_adjustment"]
    tau: float | None = Field(
        1.0,
        ge=0,
        le=5,
        description="Strength of the adjustment. null: the value of 0, 0.1, ... 2 with the best macro-F1 on "
        "validation; the head is unchanged if this does not help on held-out folds of validation.",
    )


class ClassThresholds(Params):
    """Train without balancing, then add to each class's logit an offset that maximizes macro-F1 on validation.

    The head is unchanged if this does not help on held-out folds of validation.
    """

    method: Literal["class_thresholds"]


Resampled = Oversample | Undersample | SquareRoot | Progressive
"""Methods that change how often each clip is seen."""

AnyLoss = WeightedLoss | Focal | LogitAdjusted | Ldam
"""Methods that change the loss and not the clips."""

MultiLabelLoss = Asymmetric | DistributionBalanced
"""Losses of clips with any number of labels."""

HeadOnly = EmbeddingBalance | Decoupled
"""Methods that train the head on embeddings."""

AfterTraining = TauNorm | PostHocLogitAdjustment | ClassThresholds
"""Methods that adjust a trained head without training."""

BalanceParams = NoBalance | Resampled | AnyLoss | MultiLabelLoss | HeadOnly | AfterTraining
