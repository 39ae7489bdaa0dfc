"""The extra `pipeline`: what training needs and using a trained model does not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from audiocls.errors import MissingExtraError, name_some

PIPELINE: Final = (
    "PIL", "accelerate", "datasets", "fastapi", "filelock", "imblearn", "jinja2", "matplotlib", "mlflow", "pandas",
    "prefect", "rich", "scipy", "sklearn", "sqlalchemy",
)  # fmt: skip
"""What its packages are imported as."""


def require_pipeline(what: str) -> None:
    """Check that the extra `pipeline` is installed, without importing any of it.

    Args:
        what: The room or command that needs it, for the message.

    Raises:
        MissingExtraError: Packages of the extra are not installed; names them and what to install.
    """
    missing = [name for name in PIPELINE if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{what} needs packages that are not installed: {name_some(missing, most=3)}. They come with the extra "
            "`pipeline`: pip install 'audiocls[pipeline]'"
        )
