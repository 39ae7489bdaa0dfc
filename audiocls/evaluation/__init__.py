"""Predictions and metrics of a saved model on the held-out splits.

`scoring` predicts and measures, `pooling_choice` and `event_segments` choose on validation what is kept with the model,
`report` summarizes a run, `page` shows it. `saved_model`, `selection` and `model_report` evaluate a saved model on
another corpus, and `annotations`, `detections`, `grid` and `grid_report` files with predictions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
