"""The waveform store: decoded clips in Parquet shards, memory-mapped for reading.

`store` plans it, `shards` fills it, `corpus` collects what can be used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
