"""MLflow tracking; `registry` alone imports MLflow too, for what a logged model contains.

`runs` opens and ends runs, `entries` logs to them, `delivery` sends what is logged or keeps it in an `outbox`,
`synchronisation` sends that later, `system_metrics` measures the machine, `models` logs and finds models, `known_runs`
finds runs, `store` creates the database, and `unfinished` finds runs to continue.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
