"""Train, validation and test splits that share no group, copy or near-duplicate.

`assignment` is the entry point, `leakage` checks given splits, `ledger` keeps earlier assignments as a corpus grows;
`prepared_data` is what later stages take, `contents` identifies each split by its sounds and labels, `trained_clips`
remembers what a model was trained on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
