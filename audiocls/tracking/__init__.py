"""MLflow tracking; `registry` alone imports MLflow too, for what a logged model contains.

`runs` opens and logs runs, `models` logs and finds models, `store` creates the database, `unfinished` finds runs to
continue.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
