"""Predictions and metrics of a saved model on the held-out splits.

`scoring` predicts and measures, `pooling_choice` and `event_segments` choose on validation what is kept with the model,
`label_errors` finds labels that may be wrong, `report` summarizes a run, `page` shows it. `saved_model` and `selection`
evaluate a saved model elsewhere, `grid` and `detections` files with predictions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
