from .headline import result_line as result_line
from .metric_names import headline_first as headline_first, top_level as top_level
from .model_card import write_card as write_card
from .page.records import Finding as Finding
from .page.tables import write_learning_curves as write_learning_curves
from .page.writing import PageContext as PageContext, write_page as write_page
from .report import summarise as summarise
from .scoring import Evaluation as Evaluation, evaluate as evaluate
