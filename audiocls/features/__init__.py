"""Features and embeddings of clips, stored on disk.

`store` holds features, `embeddings` the pooled outputs of an encoder, and `clips` serves the clips of a run.
`mel_statistics` describes sounds without a trained model.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
