"""Metrics of a classifier.

`classification` computes them, `pooling` makes one answer of a clip's windows, `clip_scores` scores clips and windows,
and `intervals` gives confidence intervals by group.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
