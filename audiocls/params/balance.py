"""The section `balance` of a params file: one method, and what it takes.

One method a run: copies of rare clips and a loss that weighs them too would count the rare classes twice.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from audiocls.files import composed
from audiocls.params.strict import Params

Weighting = Literal["inverse_frequency", "effective_number"]
Blending = Literal["smote", "borderline_smote", "adasyn", "smote_tomek", "smote_enn"]

_RATIO = "Of oversampling: clips of a class for each of the most frequent one, at least. null is 1: all alike."
_COUNTS = "Clips of the named classes instead; the others keep theirs. null: `ratio` says it."


def _composed_names(counts: dict[str, int]) -> dict[str, int]:
    """Name each class in NFC, as the manifest does."""
    named = {composed(name): count for name, count in counts.items()}
    if len(named) < len(counts):
        raise ValueError("names one class twice, in composed and in decomposed letters")
    return named


ClassCounts = Annotated[dict[str, int], AfterValidator(_composed_names)]


class NoBalance(Params):
    """Train on the classes as they come."""

    method: Literal["none"] = "none"


class Oversample(Params):
    """Repeat clips of the rarer classes; which ones is drawn anew in each epoch."""

    method: Literal["oversample"]
    ratio: float | None = Field(None, gt=0, le=1, description=_RATIO)
    counts: ClassCounts | None = Field(None, description=_COUNTS)


class Undersample(Params):
    """Leave out clips of the frequent classes; which ones is drawn anew in each epoch."""

    method: Literal["undersample"]
    ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Clips of the rarest class for each of any other, at least. null is 1: all alike.",
    )
    counts: ClassCounts | None = Field(None, description=_COUNTS)


class SquareRoot(Params):
    """Draw as many clips as there are, a class by the square root of its count (Mahajan et al. 2018)."""

    method: Literal["square_root"]


class Progressive(Params):
    """Draw as many clips as there are: by count in the first epoch, alike in the last (Kang et al. 2020)."""

    method: Literal["progressive"]


class WeightedLoss(Params):
    """Weigh each class in the loss; the clips stay as they are."""

    method: Literal["weighted_loss"]
    weighting: Weighting = Field(
        "inverse_frequency", description="1 / count, or the effective number of Cui et al. 2019."
    )
    beta: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Of effective_number alone; null is 0.999. 0 weighs all alike, near 1 as 1 / count.",
    )


class Focal(Params):
    """Let clips that the model is sure of count less (Lin et al. 2017)."""

    method: Literal["focal"]
    gamma: float = Field(2.0, ge=0, le=10, description="How much less; 0 is the cross entropy.")
    weighting: Weighting | None = Field(None, description="Weigh the classes as well. null: no.")
    beta: float | None = Field(None, ge=0, lt=1, description="As of weighted_loss.")


class LogitAdjusted(Params):
    """Add tau * log(share of the class) to the logits in the loss (Menon et al. 2021)."""

    method: Literal["logit_adjusted"]
    tau: float = Field(1.0, ge=0, le=5, description="0 is the cross entropy; 1 aims at the balanced error.")


class Ldam(Params):
    """Ask for a wider margin of rarer classes, and weigh them late in training (Cao et al. 2019)."""

    method: Literal["ldam"]
    max_margin: float = Field(
        2.0,
        ge=0,
        le=20,
        description="Of the rarest class, in units of the logits: an ordinary head is not normalised as the paper's.",
    )
    defer_fraction: float = Field(
        0.8, ge=0, le=1, description="Share of the steps after which the classes are weighed. 1: never."
    )
    beta: float = Field(0.9999, ge=0, lt=1, description="Of the effective number that weighs them.")


class BlendParams(Params):
    """How imbalanced-learn blends clips of the rarer classes into new ones."""

    ratio: float | None = Field(None, gt=0, le=1, description=_RATIO)
    counts: ClassCounts | None = Field(None, description=_COUNTS)
    neighbours: int = Field(5, ge=1, le=100, description="Nearest clips of its class that a clip is blended with.")
    too_few: Literal["lower_neighbours", "oversample_first"] = Field(
        "lower_neighbours",
        description="Of a class that has no more clips than `neighbours`: take as many as there are, or repeat its "
        "clips first. A class of one clip can only be repeated.",
    )
    no_border: Literal["stop", "smote"] = Field(
        "stop",
        description="Of a class that borderline_smote or adasyn find nothing to blend in, for it lies far from the "
        "others: stop, or blend it as smote does.",
    )


class HeadParams(Params):
    """How a head is trained on embeddings: multinomial logistic regression on standardised ones."""

    layer: Annotated[int, Field(ge=0)] | Literal["last", "weighted"] = Field(
        "last",
        description="Of the encoder, whose output the head is trained on: the last, the number of one (0: what goes "
        "into the first), or all of them, with weights that are learnt.",
    )
    penalty: float = Field(1.0, gt=0, description="Half the squared weights' part in the loss, over the clips.")


class EmbeddingBalance(BlendParams, HeadParams):
    """Blend embeddings of a trained encoder, which stays as it is, and train the head on them."""

    method: Blending = Field(
        description="Between clips of a class (Chawla et al. 2002), those near other classes (Han et al. 2005), "
        "more where those are near (He et al. 2008), or all, and then without pairs of neighbours of two classes "
        "(tomek) or clips whose neighbours are of others (enn; Batista et al. 2004)."
    )


class Decoupled(BlendParams, HeadParams):
    """Train plainly, then train the head anew on balanced embeddings (Kang et al. 2020, cRT)."""

    method: Literal["decoupled"]
    resampling: Literal["oversample", "undersample"] | Blending = Field(
        "oversample", description="How the embeddings are balanced; blended ones are those of smote and its relatives."
    )


class TauNorm(Params):
    """Train plainly, then divide each class's weights by a power of their norm (Kang et al. 2020)."""

    method: Literal["tau_norm"]
    tau: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The power. null: what does best in macro-F1 on validation, of 0, 0.1, ... 1, "
        "if it helps on folds of validation that it was not fitted on; else the head stays.",
    )


class PostHocLogitAdjustment(Params):
    """Train plainly, then take tau * log(share of the class) off the logits (Menon et al. 2021)."""

    method: Literal["post_hoc_logit_adjustment"]
    tau: float | None = Field(
        1.0,
        ge=0,
        le=5,
        description="null: what does best in macro-F1 on validation, of 0, 0.1, ... 2, if it helps on folds of "
        "validation that it was not fitted on; else the head stays.",
    )


class ClassThresholds(Params):
    """Train plainly, then add to each class's logit what does best in macro-F1 on validation, if it helps held out."""

    method: Literal["class_thresholds"]


Resampled = Oversample | Undersample | SquareRoot | Progressive
"""The methods that say how often each clip is seen."""

AnyLoss = WeightedLoss | Focal | LogitAdjusted | Ldam
"""The methods that change the loss, and no clips."""

HeadOnly = EmbeddingBalance | Decoupled
"""The methods that train the head on embeddings."""

AfterTraining = TauNorm | PostHocLogitAdjustment | ClassThresholds
"""The methods that change a trained head, and train nothing."""

BalanceParams = NoBalance | Resampled | AnyLoss | HeadOnly | AfterTraining
