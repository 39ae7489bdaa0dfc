"""Model families as transformers models.

Importing this package registers `logmel-resnet` and CLAP with the Auto classes. `families` builds, loads and saves
models; `adapters` holds what differs between families.
"""

import lazy_loader

from audiocls.models import registration as registration

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
