from .clips import open_clips as open_clips
from .embeddings import embed_clips as embed_clips
from .mel_statistics import mel_statistics as mel_statistics
from .store import (
    FeaturePlan as FeaturePlan,
    FeatureShard as FeatureShard,
    map_features as map_features,
    plan_features as plan_features,
    write_features as write_features,
)
