"""Linear heads on frozen embeddings.

`linear` fits them, `after_training` corrects the head of a trained model, and `held_out` measures the gain on held-out
clips.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
