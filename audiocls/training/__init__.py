"""Train a model, in this process or in several.

`run` chooses which, `fitting` trains, and `trainer` extends transformers' Trainer with our losses and sampling.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
