from .headline import headline_first as headline_first, result_line as result_line
from .model_card import write_card as write_card
from .report import summarise as summarise
from .scoring import Evaluation as Evaluation, evaluate as evaluate, predict as predict
