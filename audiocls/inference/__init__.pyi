from .classifier import UNKNOWN as UNKNOWN, Classifier as Classifier, Prediction as Prediction
from .label_files import SUFFIXES as SUFFIXES, LabelFormat as LabelFormat, write_labels as write_labels
from .segments import (
    Segment as Segment,
    SegmentParams as SegmentParams,
    WindowScores as WindowScores,
    find_segments as find_segments,
    tune_segments as tune_segments,
)
from .sources import Samples as Samples, Source as Source
from .streaming import Decision as Decision, Stream as Stream
