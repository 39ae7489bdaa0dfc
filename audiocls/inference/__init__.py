"""A trained model in use: on files, bytes, samples, hours of audio and streams. Needs neither Prefect nor MLflow.

`classifier` is the entry, `sources` reads what it is given, and `windows` cuts it;
`prediction` does so for many files, with a journal that a killed run goes on from.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
