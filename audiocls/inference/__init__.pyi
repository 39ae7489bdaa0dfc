from .classifier import UNKNOWN as UNKNOWN, Classifier as Classifier, Prediction as Prediction
from .sources import Samples as Samples, Source as Source
