"""Params files, read and validated.

`reading` merges YAML and overrides, `conflicts` finds keys that contradict each other, `candidates` lists the runs of a
comparison, `starter` writes a file to start from.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
