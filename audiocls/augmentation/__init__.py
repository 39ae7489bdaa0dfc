"""Random transforms of training clips, one module per transform.

`pipeline` draws and applies the transforms of the params. `firewall` excludes recordings that contain held-out clips.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
