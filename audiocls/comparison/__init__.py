"""Compare balance methods on the same clips, splits and seeds, and finished runs on the same test clips.

`methods` plans and trains methods, `heads` compares linear heads, and `report` writes the result. `run_answers` reads
runs, `common_clips` and `paired` compare them, and `run_comparison` writes the result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
