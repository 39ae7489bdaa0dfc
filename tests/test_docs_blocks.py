"""Every YAML, console and Python block of the README and the documentation does what it says."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml
from pretended_gpu import pretended_gpu

from audiocls.models import build_model
from audiocls.params import AudioParams, ModelParams, RunParams
from audiocls.params_file import load_params

HOME = Path(__file__).resolve().parents[1]
PAGES = [HOME / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((HOME / "docs").glob("*.md"))
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
MAKEFILE = (HOME / "Makefile").read_text()
VARIABLES = set(re.findall(r"^([A-Z_]+) \?=", MAKEFILE, flags=re.MULTILINE))
TARGETS = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE)
DEPLOYED = yaml.safe_load((HOME / "prefect.yaml").read_text())["deployments"]
# What a page cannot check without a cluster or a shell, and its first words.
OTHER_COMMANDS = (["source", ".venv/bin/activate"], ["export"])
COMMANDS = {
    "train", "evaluate", "compare", "ingest", "balance", "sync", "explain", "stores", "schema", "init", "predict",
    "listen", "retrain", "register", "promote", "rollback", "history", "diagnose",
}  # fmt: skip
WITHOUT_PARAMS = ("init", "predict", "listen", "compare", "register", "promote", "rollback", "history", "diagnose")


def blocks(language: str) -> list:
    """Return each block with the line that opens it: (page, title, text)."""
    found = []
    for page in PAGES:
        for indent, title, text in re.findall(
            rf"^( *)```{language}(?: title=\"([^\"]+)\")?\n(.*?)^ *```$",
            page.read_text(),
            flags=re.DOTALL | re.MULTILINE,
        ):
            text = "\n".join(line.removeprefix(indent) for line in text.splitlines())
            found.append(pytest.param(title, text, id=f"{page.name}:{text.splitlines()[0][:40]}"))
    return found


def command_lines() -> list:
    lines = []
    for page in PAGES:
        for text in re.findall(r"^ *```console\n(.*?)^ *```$", page.read_text(), flags=re.DOTALL | re.MULTILINE):
            lines += [
                pytest.param(line, id=f"{page.name}:{line}") for line in map(str.strip, text.splitlines()) if line
            ]
    return lines


@pytest.fixture
def params_file(tmp_path):
    """A params file as the pages' `params/mine.yaml`."""
    file = tmp_path / "mine.yaml"
    file.write_text("data: {source: folder, path: recordings}")
    return file


def test_there_are_blocks_of_every_kind_on_many_pages():
    assert len(blocks("yaml")) > 20
    assert len(blocks("python")) > 2
    assert len(command_lines()) > 40
    assert len(PAGES) > 20


def test_no_block_has_a_language_that_is_not_tested():
    languages = {name for page in PAGES for name in re.findall(r"^ *```(\w*)", page.read_text(), flags=re.MULTILINE)}
    assert languages == {"", "yaml", "console", "python", "text"}


@pytest.mark.parametrize(("title", "text"), blocks("yaml"))
def test_every_yaml_block_is_a_params_file_or_a_part_of_prefect_yaml(title, text, tmp_path):
    if title == "prefect.yaml":
        for deployment in yaml.safe_load(text)["deployments"]:
            assert deployment.keys() <= set().union(*DEPLOYED)
            assert deployment["entrypoint"] in [each["entrypoint"] for each in DEPLOYED]
        return
    file = tmp_path / "example.yaml"
    file.write_text(text)
    with pretended_gpu() if "cuda" in text else nullcontext():
        assert isinstance(load_params(file), RunParams)


@pytest.mark.parametrize("line", command_lines())
def test_every_command_exists_and_takes_what_it_is_given(line, params_file):
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    assert words, "only variables"
    match words:
        case ["make", *rest]:
            check_make(rest, params_file)
        case ["audiocls", command, *rest]:
            check_audiocls(command, rest, params_file)
        case ["python", script, *options]:
            code = (HOME / script).read_text()
            assert all(f'"{option}"' in code for option in options if option.startswith("--"))
        case ["prefect", "deployment", "run", flow, "-p", parameter]:
            name, _, file = parameter.partition("=")
            known = {each["entrypoint"].rpartition(":")[2].replace("_", "-") for each in DEPLOYED}
            assert flow.partition("/")[0] in known
            assert name in DEPLOYED[0]["parameters"]
            assert (HOME / file).exists()
        case ["pip", "install", package]:
            assert package.removeprefix("audiocls[").removesuffix("]") in PROJECT["optional-dependencies"]
        case _:
            assert any(words[: len(known)] == known for known in OTHER_COMMANDS)


def check_make(rest, params_file):
    """Require targets and variables of the Makefile, and params and overrides that load."""
    given = dict(word.split("=", 1) for word in rest if re.match(r"[A-Z_]+=", word))
    targets = [word for word in rest if word.partition("=")[0] not in given]
    assert set(targets) <= set(TARGETS)
    assert targets
    assert given.keys() <= VARIABLES
    if targets != ["test"]:
        load_params(known_file(given.get("PARAMS"), params_file), shlex.split(given.get("ARGS", "")))


def check_audiocls(command, rest, params_file):
    """Require a command, its options and its overrides; ask the command itself, where it is installed."""
    assert command in COMMANDS
    if "scripts" in PROJECT:
        assert {option for option in rest if option.startswith("--")} <= set(re.findall(r"--[\w-]+", told_by(command)))
    elif command not in WITHOUT_PARAMS:
        (module,) = re.findall(rf"^{command}:.*\n\t@\$\(BIN\)/python -m (\S+)", MAKEFILE, flags=re.MULTILINE)
        code = Path(str(importlib.util.find_spec(module).origin)).read_text()
        assert all(f'"{option}"' in code for option in rest if option.startswith("--"))
    overrides = [word for word in rest if "=" in word]
    if rest and command not in WITHOUT_PARAMS:
        load_params(known_file(rest[1 if command == "evaluate" else 0], params_file), overrides)


def test_every_subcommand_that_a_page_names_is_there():
    named = {name for page in PAGES for name in re.findall(r"`audiocls ([a-z]+)", page.read_text())}
    assert len(named) > 3
    assert named <= COMMANDS
    if "scripts" in PROJECT:
        assert set(re.findall(r"^\W+([a-z]+) ", told_by(), flags=re.MULTILINE)) >= COMMANDS


@functools.cache
def told_by(*command):
    """Return the help of a subcommand, or of the whole command."""
    module, _, function = PROJECT["scripts"]["audiocls"].partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}([*{command!r}, '--help']))"
    return subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True).stdout


def known_file(named, params_file):
    """Return the file of the repository, or the user's own where a page means that."""
    return params_file if named in (None, "params/mine.yaml") else HOME / named


@pytest.mark.parametrize(("title", "text"), blocks("python"))
def test_every_python_block_compiles_and_its_imports_of_the_library_are_there(title, text):
    assert not title
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names if alias.name.startswith("audiocls")):
                importlib.import_module(name)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("audiocls", "transformers")):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_block_on_using_a_model_classifies_a_waveform(tmp_path, monkeypatch):
    (block,) = [part.values[1] for part in blocks("python") if "pipeline(" in part.values[1]]
    params = ModelParams(family="logmel-resnet", config={"channels": [4, 8]})
    for part in build_model(params, AudioParams(max_seconds=0.5), ["no", "yes"]):
        part.save_pretrained(tmp_path / "workspace" / "runs" / "RUN_ID" / "model")
    monkeypatch.chdir(tmp_path)
    *imports, call = block.splitlines()
    waveform = np.random.default_rng(1).normal(0, 0.1, 8_000).astype(np.float32)
    names = {"waveform": waveform}
    exec("\n".join([*imports, f"found = {call}"]), names)
    assert {row["label"] for row in names["found"]} == {"no", "yes"}
