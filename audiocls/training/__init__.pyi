from .arguments import choose_device as choose_device, prepare_model as prepare_model
from .distributed import join_training as join_training
from .history import read_history as read_history
from .preflight import check_run as check_run
from .run import fit as fit
from .trained_model import TrainedModel as TrainedModel
