from .calibration import (
    BINS as BINS,
    area_under_risk_coverage as area_under_risk_coverage,
    bins_of as bins_of,
    calibration_error as calibration_error,
    classwise_calibration_error as classwise_calibration_error,
    fit_temperature as fit_temperature,
    reliability as reliability,
    risk_coverage as risk_coverage,
)
from .classification import (
    confusion as confusion,
    per_class_metrics as per_class_metrics,
    ranking_metrics as ranking_metrics,
)
from .classification_intervals import (
    PER_CLASS as PER_CLASS,
    ClassificationIntervals as ClassificationIntervals,
)
from .clip_scores import (
    CLIP_LOSS as CLIP_LOSS,
    ClipScores as ClipScores,
    LabelScores as LabelScores,
    ValidationScores as ValidationScores,
    scores_of as scores_of,
)
from .events import EventScores as EventScores, event_f1 as event_f1
from .group_scores import (
    f1_micro as f1_micro,
    mean_jackknife as mean_jackknife,
    precision_macro as precision_macro,
    precision_micro as precision_micro,
    recall_micro as recall_micro,
)
from .intervals import (
    FEWEST_GROUPS as FEWEST_GROUPS,
    FEWEST_SEEDS as FEWEST_SEEDS,
    GroupCounts as GroupCounts,
    Interval as Interval,
    Jackknife as Jackknife,
    accuracy as accuracy,
    balanced_accuracy as balanced_accuracy,
    correlation_interval as correlation_interval,
    effective_number as effective_number,
    f1_macro as f1_macro,
    interval as interval,
    jackknife as jackknife,
    jackknife_auroc as jackknife_auroc,
    matthews as matthews,
)
from .multi_label import (
    lwlrap_parts as lwlrap_parts,
    multi_label_metrics as multi_label_metrics,
    per_label_metrics as per_label_metrics,
)
from .multi_label_intervals import (
    jackknife_average_precision as jackknife_average_precision,
    multi_label_jackknife as multi_label_jackknife,
)
from .pooling import (
    Pooler as Pooler,
    WindowPooler as WindowPooler,
    fixed_pooling as fixed_pooling,
    probabilities_of as probabilities_of,
)
from .thresholds import (
    DEFAULT_THRESHOLD as DEFAULT_THRESHOLD,
    cross_fitted as cross_fitted,
    fit_thresholds as fit_thresholds,
)
