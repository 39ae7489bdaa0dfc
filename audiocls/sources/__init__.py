"""Recordings and labels of a folder, a table, a hub dataset or the sample corpus.

`manifest` writes the listing that every later stage reads; each source is a module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
