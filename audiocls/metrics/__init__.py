"""Metrics of a classifier.

`classification` computes them, `clip_scores` averages windows into clips, `intervals` gives confidence intervals by
group.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
