"""Checks for problems in a corpus before training.

`report` runs every check and writes the page; each other module is one check.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
