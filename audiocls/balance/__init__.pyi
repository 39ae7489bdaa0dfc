from .draws import EpochSampler as EpochSampler, class_counts as class_counts
from .label_set_draws import LabelSetSampler as LabelSetSampler
from .selection import (
    Balanced as Balanced,
    balance as balance,
    check_training_only as check_training_only,
    write_class_counts as write_class_counts,
)
from .synthetic import SyntheticSamples as SyntheticSamples, balance_embeddings as balance_embeddings
from .weights import class_weights as class_weights
from .window_draws import WindowSampler as WindowSampler
