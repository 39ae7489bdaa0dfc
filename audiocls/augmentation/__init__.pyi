from .draws import clip_seeds as clip_seeds
from .firewall import check_recordings as check_recordings
from .pipeline import Augmenter as Augmenter
from .recordings import read_recordings as read_recordings
from .sounds import Sounds as Sounds, valid_samples as valid_samples
