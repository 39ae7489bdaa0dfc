from .classifier import UNKNOWN as UNKNOWN, Classifier as Classifier, Prediction as Prediction
from .onnx_export import OnnxExport as OnnxExport, export_onnx as export_onnx
from .onnx_parity import Parity as Parity
from .onnx_runtime import ONNX_FILES as ONNX_FILES, OnnxRuntime as OnnxRuntime, load_onnx as load_onnx
from .runtime_choice import RuntimeKind as RuntimeKind
from .segments import (
    Segment as Segment,
    SegmentParams as SegmentParams,
    WindowScores as WindowScores,
    find_segments as find_segments,
    tune_segments as tune_segments,
)
from .sources import Samples as Samples, Source as Source
from .streaming import Decision as Decision, Stream as Stream
