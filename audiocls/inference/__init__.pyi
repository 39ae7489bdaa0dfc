from .choices import LabelFormat as LabelFormat, PartKind as PartKind, RuntimeKind as RuntimeKind
from .classifier import Classifier as Classifier, Prediction as Prediction
from .decisions import UNKNOWN as UNKNOWN, Decisions as Decisions
from .journal import locked_journal as locked_journal
from .label_files import SUFFIXES as SUFFIXES, write_labels as write_labels
from .label_reading import (
    Detection as Detection,
    read_label_file as read_label_file,
    recording_of as recording_of,
)
from .listening import Sound as Sound, record as record, replay as replay
from .loading import find_model as find_model
from .onnx_export import OnnxExport as OnnxExport, export_onnx as export_onnx
from .onnx_parity import Parity as Parity
from .onnx_runtime import ONNX_FILES as ONNX_FILES, OnnxRuntime as OnnxRuntime, load_onnx as load_onnx
from .outputs import check_output as check_output, show_rows as show_rows
from .parts import PartParams as PartParams
from .prediction import (
    PredictParams as PredictParams,
    PredictPlan as PredictPlan,
    PredictShard as PredictShard,
    PredictSummary as PredictSummary,
    Tally as Tally,
    plan_predictions as plan_predictions,
    predict_rows as predict_rows,
    score_shard as score_shard,
    write_predictions as write_predictions,
)
from .recordings import Recordings as Recordings, list_recordings as list_recordings
from .rows import TableParams as TableParams
from .runtime_choice import load_torch as load_torch, seconds_per_window as seconds_per_window
from .segments import (
    Segment as Segment,
    SegmentParams as SegmentParams,
    WindowScores as WindowScores,
    find_segments as find_segments,
    tune_segments as tune_segments,
)
from .sources import Samples as Samples, Source as Source
from .streaming import Decision as Decision, Stream as Stream
