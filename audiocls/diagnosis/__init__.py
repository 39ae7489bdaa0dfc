"""What is wrong with a trained run, by how much, and which overrides may mend it.

`gathering` measures a run once and keeps what it measured in the run's folder, each module of `kinds` looks for one
kind of fault in it, and `diagnosing` ranks what they find.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
