"""Inspection of stores on disk.

`explanation` shows what happened to one clip, `generations` lists and removes stores.
"""

import lazy_loader

from audiocls.extras import require_pipeline

require_pipeline(__name__)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
