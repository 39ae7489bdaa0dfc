"""Reads a params file: YAML with `key.path=value` overrides. All mistakes in both are reported at once."""

from __future__ import annotations

import copy
import difflib
import re
import reprlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError

from audiocls.errors import ParamsError, counted
from audiocls.files import as_utf8, masked
from audiocls.params import RunParams
from audiocls.params_file.conflicts import find_conflicts

Raw = dict[str, Any]
Key = tuple[Hashable, ...]

_AS_OVERRIDE: Final = " (given as an override)"


class Mistake(NamedTuple):
    """One mistake: the key and what is wrong with it."""

    key: str
    message: str


def load_params(file: Path | str, overrides: Sequence[str] = ()) -> RunParams:
    """Read a params file and apply `key.path=value` overrides, whose values are YAML.

    Raises:
        ParamsError: The file cannot be read, or any key or value is wrong; the message lists every mistake.
    """
    file = Path(file)
    raw = _read_file(file)
    mistakes, applied = [], []
    for text in overrides:
        mistake = _apply_override(raw, text)
        if mistake is None:
            applied.append(text.partition("=")[0].strip())
        else:
            mistakes.append(mistake)
    resolved, found = _validate(raw)
    mistakes += [_marked(mistake, applied) for mistake in found]
    if mistakes or resolved is None:
        raise ParamsError(_report(file, mistakes))
    return resolved


def override_params(params: RunParams, overrides: Sequence[str]) -> RunParams:
    """Apply `key.path=value` overrides to the keys that `params` set; other keys keep their defaults.

    Raises:
        ParamsError: A key or a value is wrong, or conflicts with another; the message lists every mistake.
    """
    raw = params.model_dump(mode="json", exclude_unset=True)
    mistakes = [mistake for text in overrides if (mistake := _apply_override(raw, text))]
    resolved, found = _validate(raw)
    if mistakes or found or resolved is None:
        raise ParamsError(_report(Path("params"), [*mistakes, *found]))
    return resolved


def dump_params(params: RunParams) -> str:
    """Write resolved params as YAML that `load_params` reads back to an equal object."""
    return dump_yaml(params.model_dump(mode="json"))


def dump_yaml(section: Raw) -> str:
    """Write keys and values as YAML that a params file may hold."""
    return yaml.dump(section, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 5e-5 as a number, as YAML 1.2 does, and rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                fault = "is given twice" if isinstance(key, Hashable) else "is not text"
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} {fault}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes the text "5e-5", which `_Loader` would read as a number, and escapes line separators."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_NUMBER: Final = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(*_NUMBER)
_Dumper.add_implicit_resolver(*_NUMBER)
# Other styles do not escape NEL and similar characters, which a reader takes for line breaks.
_Dumper.add_representer(str, _Dumper.represent_text)


def _parse(text: str) -> Any:
    """Parse YAML.

    Raises:
        ValueError: The YAML is not valid; the message says in one line what is wrong and where.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"not valid YAML: {where}{_one_line(what)}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise ValueError("not valid YAML: it is nested too deeply") from error
    except ValueError as error:  # such as 2026-13-01, which looks like a date
        raise ValueError(f"a value cannot be read: {_one_line(error)}") from error


def _read_file(file: Path) -> Raw:
    try:
        raw = _parse(as_utf8(file.read_bytes()).decode())
    except OSError as error:
        raise ParamsError(f"{file}: the params file cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ParamsError(f"{file}: {error}.") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{file}: a params file must be a mapping of keys to values, and this one is {_kind(raw)}.")
    return raw


def _apply_override(raw: Raw, text: str) -> Mistake | None:
    """Set one `key.path=value` in place; return the mistake in it, if any."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        return Mistake(text, "is not an override; write key.path=value, e.g. training.epochs=3")
    try:
        parsed = _parse(value)
    except ValueError as error:
        return Mistake(key.strip(), f"= {value}: {error}{_AS_OVERRIDE}")
    section = raw
    for depth, part in enumerate(parts[:-1], start=1):
        if section.get(part) is None:
            section[part] = {}
        inner = section[part]
        if not isinstance(inner, dict):
            above = ".".join(parts[:depth])
            return Mistake(key.strip(), f"= {value}: {above} is {_kind(inner)} and has no keys{_AS_OVERRIDE}")
        section = inner
    section[parts[-1]] = parsed
    return None


def _validate(raw: Raw) -> tuple[RunParams | None, list[Mistake]]:
    """Check everything; conflicts between keys are reported even if some keys are invalid by themselves."""
    try:
        resolved = RunParams.model_validate(raw)
    except ValidationError as error:
        mistakes = [_describe(raw, detail) for detail in error.errors()]
        repaired = _without_mistakes(raw, error)
        return None, mistakes + ([Mistake(*c) for c in find_conflicts(repaired)] if repaired else [])
    return resolved, [Mistake(*c) for c in find_conflicts(resolved)]


def _without_mistakes(raw: Raw, error: ValidationError) -> RunParams | None:
    """Replace invalid values by defaults, so that the rest can be checked; None if that is not possible."""
    repaired = copy.deepcopy(raw)
    for detail in error.errors():
        *parents, last = _path(detail["loc"])
        section: Any = repaired
        for part in parents:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(last, None)
            if last == "path":
                section[last] = "missing"
    # Only `data` has no default, and no other rule depends on it.
    if not isinstance(repaired.get("data"), dict):
        repaired["data"] = {"source": "sample"}
    try:
        return RunParams.model_validate(repaired)
    except ValidationError:
        return None


def _path(loc: Sequence[int | str]) -> Key:
    """Remove what pydantic adds to a location.

    data.table.path becomes data.path, augmentation.0.gain.min_db augmentation.0.min_db, and config.5.[key] config.5.
    """
    field = RunParams.model_fields.get(str(loc[0]))
    tagged = field is not None and field.discriminator is not None and len(loc) > 2
    pooled = tagged and loc[1:3] == ("pool", "sources") and len(loc) > 5
    listed = loc[0] == "augmentation" and len(loc) > 3
    tags = {1: tagged, 2: listed, 4: pooled}
    return tuple(part for i, part in enumerate(loc) if not tags.get(i) and part != "[key]")


def _dotted(path: Key) -> str:
    return ".".join(map(str, path))


def _describe(raw: Raw, detail: Any) -> Mistake:
    path, value = _path(detail["loc"]), detail["input"]
    key = _dotted(path)
    match detail["type"]:
        case "extra_forbidden":
            return Mistake(key, f"= {_short(value)}: unknown key{_suggestion(raw, path)}")
        case "missing":
            return Mistake(key, "is missing")
        case "union_tag_not_found":
            name = detail["ctx"]["discriminator"].strip("'")
            return Mistake(f"{key}.{name}", "is missing; it determines which other keys apply")
        case "union_tag_invalid":
            context = detail["ctx"]
            name = context["discriminator"].strip("'")
            return Mistake(f"{key}.{name}", f"= {_short(value[name])}: must be one of {context['expected_tags']}")
        case "model_type" | "model_attributes_type" | "dict_type":
            return Mistake(key, f"= {_short(value)}: must be a section with keys of its own")
        case "path_type":
            return Mistake(key, f"= {_short(value)}: must be a path")
    clear = ("literal_error", "string_pattern_mismatch")
    if detail["type"] == "invalid_key" or (detail["loc"][-1] == "[key]" and detail["type"] not in clear):
        return Mistake(key, "is not text, and a key must be text; put it in quotes")
    message = detail["msg"].removeprefix("Input ").removeprefix("Value error, ").replace("should be", "must be")
    return Mistake(key, f"= {_short(value)}: {message}")


def _suggestion(raw: Raw, path: Key) -> str:
    """Suggest where an unknown key may belong."""
    name, key = str(path[-1]), _dotted(path)
    if path[0] == "augmentation" and len(path) == 3:
        return _suggestion_in_list(name, raw["augmentation"][path[1]]["kind"])
    field = RunParams.model_fields.get(str(path[0]))
    here = ""
    if field is not None and field.discriminator is not None:
        section: Any = raw
        for part in path[:-1]:
            section = section[part]
        tag = f"{_dotted(path[:-1])}.{field.discriminator}"
        here = f" of {tag}={section[field.discriminator]}"
        owners = [m for m in _models(field.annotation) if name in m.model_fields]
        if owners:
            tags = [t for m in owners for t in get_args(m.model_fields[str(field.discriminator)].annotation)]
            return f"{here}; it belongs to {' or '.join(f'{tag}={t}' for t in tags)}"
    known = list(dict.fromkeys(known_keys()))
    same_name = [other for other in known if other.rsplit(".", 1)[-1] == name]
    close = same_name or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    return here + (f"; did you mean {' or '.join(close[:3])}?" if close else "")


def _suggestion_in_list(name: str, kind: str) -> str:
    """Suggest a key that the transform has, or the transforms that have the key."""
    models = {
        get_args(model.model_fields["kind"].annotation)[0]: model.model_fields
        for model in _models(RunParams.model_fields["augmentation"].annotation)
    }
    owners = [other for other, fields in models.items() if name in fields]
    if owners:
        return f" of kind={kind}; it belongs to {' or '.join(f'kind={owner}' for owner in owners)}"
    close = difflib.get_close_matches(name, models[kind], n=1)
    return f" of kind={kind}" + (f"; did you mean {close[0]}?" if close else "")


def known_keys() -> Iterator[str]:
    """Yield every key of a params file but those of transforms, e.g. training.epochs; some come several times."""
    for name, field in RunParams.model_fields.items():
        yield name
        yield from (f"{name}.{key}" for model in _models(field.annotation) for key in model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a field can hold: one, the members of a union, or none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _marked(mistake: Mistake, overridden: Sequence[str]) -> Mistake:
    """Mark a mistake that comes from an override and not from the file that the message names."""
    near = any(f"{key}.".startswith(f"{mistake.key}.") or mistake.key.startswith(f"{key}.") for key in overridden)
    return mistake._replace(message=mistake.message + _AS_OVERRIDE) if near else mistake


def _report(file: Path, mistakes: Sequence[Mistake]) -> str:
    count = counted(len(mistakes), "mistake")
    return masked("\n".join([f"{file}: {count} in the params:", *(f"  {m.key} {m.message}" for m in mistakes)]))


def _kind(value: object) -> str:
    return "empty" if value is None else f"{_short(value)} (a {type(value).__name__})"


def _short(value: object) -> str:
    """Format a value in one line, however large it is."""
    return _SHORT.repr(value)


class _Short(reprlib.Repr):
    def repr_str(self, text: str, level: int) -> str:
        """Mask before the text is cut: a password is no longer recognized in half a URI."""
        return super().repr_str(masked(text), level)


_SHORT: Final = _Short()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 120


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
