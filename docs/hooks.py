"""Write the params reference from the pydantic models whenever MkDocs builds the site."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from audiocls.params import RunParams

_INTRODUCTION: Final = """# Params reference

One YAML file is one run. This page is generated from the pydantic models in `audiocls/params/`, so it lists every key.
`audiocls schema` prints the same as a JSON schema for editors. An unknown key or a value outside its bounds is an error
that names the file, the key and the value. On the command line, a key is written with dots: `training.epochs=3`.
"""
_TABLE: Final = "| key | type | default | bounds | description |\n|---|---|---|---|---|"
_BOUNDS: Final = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "minLength": "length ≥ {}", "minItems": "items ≥ {}", "minProperties": "entries ≥ {}", "pattern": "matches {}",
}  # fmt: skip

Schema = dict[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site; it stands in no file of the repository."""
    files.append(File.generated(config, "params.md", content=params_page()))
    return files


def params_page() -> str:
    """Return the whole reference as Markdown: the top level, then a section a key, a subsection a variant."""
    schema = RunParams.model_json_schema()
    definitions = schema["$defs"]
    sections = [_INTRODUCTION, "## Top level\n", _table(schema, definitions)]
    for name, key in schema["properties"].items():
        models = _models(key, definitions)
        if not models:
            continue
        sections.append(f"## {name}\n")
        for model in models:
            sections += _section(name, model, definitions, level=3 if len(models) > 1 else 0)
    return "\n".join(sections) + "\n"


def _section(name: str, model: Schema, definitions: dict[str, Schema], level: int) -> Iterator[str]:
    """Yield a model's heading where it is one of several, its meaning, its keys, and the models of its own keys."""
    if level:
        yield f"{'#' * level} {_variant(name, model)}\n"
    yield " ".join(model.get("description", "").split()) + "\n"
    yield _table(model, definitions)
    for key, value in model.get("properties", {}).items():
        inner = _models(value, definitions)
        if len(inner) == 1:  # several are variants that have sections of their own
            yield f"{'#' * (level or 2)}# {name}.{key}\n"
            yield from _section(f"{name}.{key}", inner[0], definitions, level=0)


def _variant(name: str, model: Schema) -> str:
    """Name a member of a union by the key that chooses it: `source: folder`."""
    for key in ("source", "method", "kind"):
        chosen = model.get("properties", {}).get(key, {})
        values = [chosen["const"]] if "const" in chosen else chosen.get("enum", [])
        if values:
            return f"{name}: {key}: {', '.join(values)}"
    return f"{name}: {model['title']}"


def _models(key: Schema, definitions: dict[str, Schema]) -> list[Schema]:
    """Return the models that a key may hold, however they are nested."""
    if "$ref" in key:
        found = definitions[key["$ref"].rpartition("/")[2]]
        return [found] if "properties" in found else []
    inner = [*key.get("anyOf", []), *key.get("oneOf", []), key.get("items"), key.get("additionalProperties")]
    return [model for part in inner if isinstance(part, dict) for model in _models(part, definitions)]


def _table(model: Schema, definitions: dict[str, Schema]) -> str:
    required = model.get("required", [])
    rows = [_row(name, key, definitions, required=name in required) for name, key in model["properties"].items()]
    return "\n".join([_TABLE, *rows]) + "\n"


def _row(name: str, key: Schema, definitions: dict[str, Schema], *, required: bool) -> str:
    default = "required" if required else _default(key)
    cells = [f"`{name}`", _type(key, definitions), default, _bounds(key), _cell(key.get("description", ""))]
    return "| " + " | ".join(cells) + " |"


def _default(key: Schema) -> str:
    if "default" not in key:  # a factory, which JSON schema does not show, makes an empty one
        return "`[]`" if key.get("type") == "array" else "`{}`"
    value = key["default"]
    return "see below" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _type(key: Schema, definitions: dict[str, Schema]) -> str:
    """Say what a key may hold in the words of YAML."""
    if "$ref" in key:
        found = definitions[key["$ref"].rpartition("/")[2]]
        return "section" if "properties" in found else _type(found, definitions)
    if options := [*key.get("anyOf", []), *key.get("oneOf", [])]:
        return " or ".join(dict.fromkeys(_type(option, definitions) for option in options))
    if "const" in key:
        return f"`{key['const']}`"
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    if key.get("type") == "array":
        return f"list of {_type(key['items'], definitions)}"
    if key.get("type") == "object" and isinstance(key.get("additionalProperties"), dict):
        return f"mapping to {_type(key['additionalProperties'], definitions)}"
    kind = str(key.get("type", "any"))
    return "mapping" if kind == "object" else kind


def _bounds(key: Schema) -> str:
    parts = [key, *key.get("anyOf", [])]
    found = [words.format(_number(part[name])) for part in parts for name, words in _BOUNDS.items() if name in part]
    return _cell(", ".join(found))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)


def _cell(text: str) -> str:
    """Keep a text in its cell of the table, and YAML's stars and brackets as they are; code is left alone."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if inside else _plain(part) for part, inside in zip(parts, itertools.cycle([False, True])))


def _plain(text: str) -> str:
    for character in "\\|*<>[]{}_":
        text = text.replace(character, f"&#{ord(character)};")
    return text
