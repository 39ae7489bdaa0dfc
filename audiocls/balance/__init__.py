"""Class balance during training.

`selection` chooses the training clips, `draws` samples them and `window_draws` their windows, `weights` weights the
loss, `synthetic` makes synthetic embeddings.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
