"""Compare balance methods on the same clips, splits and seeds.

`methods` plans and trains them, `heads` compares linear heads, and `report` writes the result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
