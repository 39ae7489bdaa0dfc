"""The schema of a params file: pydantic models and nothing else.

`run` defines the whole file; each other module defines one section of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
