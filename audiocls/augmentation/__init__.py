"""Random changes of training clips, one transform a module.

`pipeline` draws and applies what the params ask for. `firewall` keeps out background recordings that share a
source with held-out clips.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
