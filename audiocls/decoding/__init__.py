"""Decode the bytes of one recording to mono samples, or give the reason why it cannot be used.

`recording` is the entry point; `flac_frames`, `mpeg_frames` and `ogg_pages` walk the frames of their formats.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
