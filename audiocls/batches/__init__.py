"""Stored waveforms as batches of model inputs.

`dataset` reads and collates clips, `windows` cuts long ones and averages their scores, `training_batches` shuffles and
augments those of training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
