"""Recordings and labels from a folder, a table, a Hub dataset or the sample corpus.

`manifest` writes the manifest that every later stage reads; each source has its own module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
