"""Stored waveforms as batches of model inputs.

`dataset` reads and collates clips, `windows` splits long ones and averages their scores, and `training_batches`
augments training clips.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
