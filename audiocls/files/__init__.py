"""Files and storage: atomic writes, local paths and URIs, full disks, masked secrets.

`storage` reads and writes local and remote tables, `places` parses URIs, `atomic` writes local files atomically.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
