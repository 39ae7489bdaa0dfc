from .headline import result_line as result_line
from .metric_names import headline_first as headline_first, top_level as top_level
from .model_card import write_card as write_card
from .report import summarise as summarise
from .scoring import Evaluation as Evaluation, evaluate as evaluate
