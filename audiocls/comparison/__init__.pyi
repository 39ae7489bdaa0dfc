from .methods import (
    Training as Training,
    compare as compare,
    nested_runs as nested_runs,
    plan_trainings as plan_trainings,
    train_candidate as train_candidate,
)
from .report import Comparison as Comparison
from .run_comparison import RunComparison as RunComparison, compare_runs as compare_runs
