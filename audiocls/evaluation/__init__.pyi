from .annotations import Annotated as Annotated, read_annotations as read_annotations
from .answers import NAMES as NAMES, Answers as Answers
from .detections import Detections as Detections, is_predictions as is_predictions, read_detections as read_detections
from .grid_report import (
    GridOptions as GridOptions,
    GridReport as GridReport,
    score_detections as score_detections,
    summarise_detections as summarise_detections,
)
from .headline import result_line as result_line
from .metric_names import headline_first as headline_first, top_level as top_level
from .model_card import write_card as write_card
from .model_report import accuracy_with_unknown as accuracy_with_unknown, summarise_model as summarise_model
from .page.media import encode_mp3 as encode_mp3
from .page.records import Finding as Finding
from .page.tables import write_learning_curves as write_learning_curves
from .page.writing import PageContext as PageContext, write_page as write_page
from .report import summarise as summarise
from .saved_model import SavedModel as SavedModel, find_saved_model as find_saved_model
from .scoring import Evaluation as Evaluation, evaluate as evaluate, predict as predict
from .selection import (
    Part as Part,
    Selection as Selection,
    read_label_map as read_label_map,
    select_clips as select_clips,
)
from .slices import slices_of as slices_of
from .weak_spots import CORRUPTED as CORRUPTED
