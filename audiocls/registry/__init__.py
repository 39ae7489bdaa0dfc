"""Trained models in MLflow: what is logged, and how MLflow loads, runs and serves it.

`logged_model` writes them, `pyfunc_model` is the code that they run, `clip_tables` is its input and output.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
