"""What a front end or an encoder computes of each clip, kept on disk.

`store` keeps features, `embeddings` pooled outputs of an encoder; `clips` serves what a run has of its clips.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
