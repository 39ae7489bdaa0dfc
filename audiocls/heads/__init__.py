"""Linear heads on frozen embeddings.

`linear` fits them, `after_training` corrects the head of a trained model, `held_out` measures what that gains on
clips it was not fitted on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
