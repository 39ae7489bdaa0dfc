"""Files and places: atomic writes, local paths and URIs, full disks, masked secrets.

`storage` and `parquet` read and write anywhere, `places` understands URIs, `atomic` writes local files whole or not at
all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
