from .clip_tables import classify_table as classify_table
from .logged_model import log_model as log_model, save_pyfunc as save_pyfunc
