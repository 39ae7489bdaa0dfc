"""Reading a params file: YAML, `key.path=value` overrides, and every mistake in both reported at once."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from audiocls import params as schema
from audiocls.conflicts import find_conflicts
from audiocls.errors import ParamsError
from audiocls.params import RunParams

Raw = dict[str, Any]


class Mistake(NamedTuple):
    """One thing that is wrong: where, and what."""

    key: str
    message: str


def load_params(file: Path | str, overrides: Sequence[str] = ()) -> RunParams:
    """Read a params file and apply `key.path=value` overrides, whose values are YAML.

    Raises:
        ParamsError: The file cannot be read, or any key or value is wrong; the message lists every mistake.
    """
    file = Path(file)
    raw = _read_yaml(file)
    mistakes = [m for text in overrides if (m := _apply_override(raw, text)) is not None]
    resolved, found = _validate(raw)
    mistakes += found
    if mistakes or resolved is None:
        raise ParamsError(_report(file, overrides, mistakes))
    return resolved


def dump_params(params: RunParams) -> str:
    """Write resolved params as YAML that `load_params` reads back to an equal object."""
    return yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 5e-5 as a number, as YAML 1.2 does, and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _read_yaml(file: Path) -> Raw:
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{file}: the params file cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{file}: not valid YAML: {_one_line(error)}.") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{file}: a params file is a mapping of keys to values, and this one is {_kind(raw)}.")
    return raw


def _apply_override(raw: Raw, text: str) -> Mistake | None:
    """Set one `key.path=value` in place; return what is wrong with it, if anything."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        return Mistake(text, "is not an override; write key.path=value, e.g. training.epochs=3")
    try:
        parsed = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        return Mistake(key, f"the value {value!r} is not valid YAML: {_one_line(error)}")
    section = raw
    for depth, part in enumerate(parts[:-1], start=1):
        inner = section.setdefault(part, {})
        if not isinstance(inner, dict):
            return Mistake(key, f"{'.'.join(parts[:depth])} is {_kind(inner)} and has no keys of its own")
        section = inner
    section[parts[-1]] = parsed
    return None


def _validate(raw: Raw) -> tuple[RunParams | None, list[Mistake]]:
    """Check everything; conflicts between keys are looked for even where some keys are wrong by themselves."""
    try:
        resolved = RunParams.model_validate(raw)
    except ValidationError as error:
        mistakes = [_describe(raw, detail) for detail in error.errors()]
        repaired = _without_mistakes(raw, error)
        return None, mistakes + ([Mistake(*c) for c in find_conflicts(repaired)] if repaired else [])
    return resolved, [Mistake(*c) for c in find_conflicts(resolved)]


def _without_mistakes(raw: Raw, error: ValidationError) -> RunParams | None:
    """Put defaults in place of wrong values, so that the rest can be checked; None where no default stands in."""
    repaired = copy.deepcopy(raw)
    for detail in error.errors():
        *parents, last = _path(raw, detail["loc"])
        section: Any = repaired
        for part in parents:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(last, None)
            if detail["type"] == "missing":
                section[last] = "missing"
    try:
        return RunParams.model_validate(repaired)
    except ValidationError:
        return None


def _path(raw: Raw, loc: Sequence[int | str]) -> list[str]:
    """Drop the union tags that pydantic puts into a location: data.table.path is the key data.path."""
    tagged = {"data", "balance"}
    return [str(part) for i, part in enumerate(loc) if not (i == 1 and loc[0] in tagged and len(loc) > 2)]


def _describe(raw: Raw, detail: Any) -> Mistake:
    path = _path(raw, detail["loc"])
    key = ".".join(path)
    match detail["type"]:
        case "extra_forbidden":
            return Mistake(key, f"= {detail['input']!r}: unknown key{_suggestion(raw, path)}")
        case "missing":
            return Mistake(key, "is missing")
        case "union_tag_not_found":
            name = detail["ctx"]["discriminator"].strip("'")
            return Mistake(f"{key}.{name}", "is missing; it says which of the others apply")
        case "union_tag_invalid":
            context = detail["ctx"]
            name = context["discriminator"].strip("'")
            return Mistake(f"{key}.{name}", f"= {context['tag']!r}: must be one of {context['expected_tags']}")
    message = detail["msg"].removeprefix("Input ")
    return Mistake(key, f"= {detail['input']!r}: {message}")


def _suggestion(raw: Raw, path: list[str]) -> str:
    """Say where a key that is not known here may belong."""
    section = raw.get(path[0]) if len(path) == 2 else None
    if path[0] in ("data", "balance") and isinstance(section, dict):
        discriminator = "source" if path[0] == "data" else "method"
        here = f" of {path[0]}.{discriminator}={section.get(discriminator)}"
    else:
        here = ""
    known = list(_known_keys())
    same_name = [key for key in known if key.rsplit(".", 1)[-1] == path[-1] and key != ".".join(path)]
    close = same_name or difflib.get_close_matches(".".join(path), known, n=1, cutoff=0.75)
    return here + (f"; did you mean {' or '.join(close[:3])}?" if close else "")


def _known_keys() -> Iterator[str]:
    for name, field in RunParams.model_fields.items():
        yield name
        models = [m for m in vars(schema).values() if isinstance(m, type) and issubclass(m, BaseModel)]
        yield from dict.fromkeys(
            f"{name}.{key}" for m in models if m.__name__ in str(field.annotation) for key in m.model_fields
        )


def _report(file: Path, overrides: Sequence[str], mistakes: Sequence[Mistake]) -> str:
    overridden = {text.partition("=")[0].strip() for text in overrides}
    lines = [f"  {m.key} {m.message}" + (" (given as an override)" if m.key in overridden else "") for m in mistakes]
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return "\n".join([f"{file}: {count} in the params:", *lines])


def _kind(value: object) -> str:
    return "empty" if value is None else f"{value!r} (a {type(value).__name__})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
