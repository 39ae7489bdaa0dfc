"""The base of every section of a params file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Params(BaseModel):
    """A frozen model that rejects unknown keys: a misspelled key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def check_path_text(value: object) -> object:
    """Reject text that is not a path: empty text would silently mean the current folder."""
    if isinstance(value, str | Path) and not str(value).strip():
        raise PydanticCustomError("path_empty", "must not be empty; leave the key out for its default")
    if isinstance(value, str | Path) and "\0" in str(value):
        raise PydanticCustomError("path_zero_byte", "must not contain a zero byte")
    return value


def _check_text(value: str) -> str:
    check_path_text(value)
    return value


LocalPath = Annotated[Path, Field(strict=False), BeforeValidator(check_path_text)]
"""A local path."""

PathText = Annotated[str, AfterValidator(_check_text)]
"""A path, a URI or a name on a hub."""
