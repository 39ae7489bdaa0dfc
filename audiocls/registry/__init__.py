"""Trained models in MLflow: what is logged and served, and which version of a model is in use.

`logged_model` and `pyfunc_model` are MLflow's models; `promotion` moves aliases, `gate` decides on `evidence`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
