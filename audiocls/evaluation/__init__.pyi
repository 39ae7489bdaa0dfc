from .report import summarise as summarise
from .scoring import Evaluation as Evaluation, evaluate as evaluate
