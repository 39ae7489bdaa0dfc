"""Find clips that contain the same recording with different samples.

`pairs` searches a store with `fingerprints` and verifies each candidate with `alignment`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
