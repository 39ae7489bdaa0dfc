"""The schema of a params file: pydantic models and nothing else.

`run` holds the whole; each other module is one section of the file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
