"""Clips that hold the same recording in different samples.

`pairs` searches a store by `fingerprints` and checks each candidate by `alignment`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
