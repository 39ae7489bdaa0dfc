"""The bytes of one recording as mono samples, or the reason why it cannot be used.

`recording` is the entry; `flac_frames`, `mpeg_frames` and `ogg_pages` walk the frames of their containers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
