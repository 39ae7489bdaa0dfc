"""MLflow tracking; no other room imports MLflow.

`runs` opens and logs runs, `store` creates the database, `unfinished` finds runs to continue.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
