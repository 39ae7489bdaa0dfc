"""Files and storage: atomic writes, local paths and URIs, full disks, masked secrets.

`storage` and `tables` read and write local and remote files, `places` parses URIs, `atomic` writes local files
atomically.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
