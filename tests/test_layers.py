"""The contracts between the rooms, which import-linter reads from pyproject.toml, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
ROOMS = sorted(path.parent.name for path in (HOME / "audiocls").glob("*/__init__.py"))
FILES = [path for package in ("audiocls", "tasks", "flows") for path in sorted((HOME / package).rglob("*.py"))]
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 350, 60
CONTRACTS = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_the_contracts_are_kept():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=HOME, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_no_contract_has_exceptions():
    assert [contract["name"] for contract in CONTRACTS if "ignore_imports" in contract] == []


def test_mlflow_is_forbidden_to_every_room_but_tracking_and_registry():
    (contract,) = (each for each in CONTRACTS if each.get("forbidden_modules") == ["mlflow"])
    modules = {f"audiocls.{path.stem}" for path in (HOME / "audiocls").glob("[!_]*.py")}
    rooms = {f"audiocls.{room}" for room in ROOMS} - {"audiocls.tracking", "audiocls.registry"}
    assert set(contract["source_modules"]) == modules | rooms | {"tasks", "flows"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_three_sentences_what_it_is_for(room):
    docstring = ast.get_docstring(ast.parse((HOME / "audiocls" / room / "__init__.py").read_text()))
    assert docstring
    assert 1 <= docstring.count(". ") + docstring.count(".\n") + docstring.endswith(".") <= 3


def test_tests_mirror_the_rooms():
    assert {path.name for path in (HOME / "tests" / "audiocls").iterdir() if path.is_dir()} - {"__pycache__"} <= set(
        ROOMS
    )


def test_a_task_file_has_the_name_of_the_room_or_module_that_it_wraps():
    for path in (HOME / "tasks").glob("*.py"):
        if path.stem not in ("__init__", "forks", "orphans", "reconnection", "retries", "runners"):
            assert path.stem in {*ROOMS, *(file.stem for file in (HOME / "audiocls").glob("*/*.py"))}, path.name


def test_no_file_is_longer_than_350_lines():
    lengths = {str(path.relative_to(HOME)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_longer_than_60_lines():
    lengths = {
        f"{path.relative_to(HOME)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 1_000
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_reading_params_loads_neither_torch_nor_transformers():
    heavy = {"torch", "transformers", "prefect", "mlflow", "datasets", "sklearn"}
    script = f"import sys, audiocls.params_file.reading; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], cwd=HOME, check=False).returncode == 0


def test_a_room_exports_what_it_promises_and_importing_the_library_writes_nothing_and_sets_up_no_logging(tmp_path):
    modules = [
        ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.relative_to(HOME).parts[0] == "audiocls"
    ]
    script = (
        "import importlib, logging\n"
        f"for name in {[f'audiocls.{room}' for room in ROOMS]!r}:\n"
        "    room = importlib.import_module(name)\n"
        "    [getattr(room, exported) for exported in room.__all__]\n"
        f"[importlib.import_module(name) for name in {modules!r}]\n"
        "logger = logging.getLogger('audiocls')\n"
        "assert not logger.handlers and logger.level == logging.NOTSET"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []
