"""flows -> tasks -> audiocls, never back; and who may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "audiocls": {"prefect", "tasks", "flows"},
    "tasks": {"flows"},
    "flows": {"torch", "pandas", "mlflow", "transformers", "sklearn"},
}
FILES = [path for package in FORBIDDEN for path in sorted((HOME / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """The first names of all imports of a file, wherever in it they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that this test can read them"
            names.add((node.module or "").split(".")[0])
    return names


def test_there_are_files_to_check():
    assert {path.relative_to(HOME).parts[0] for path in FILES} == set(FORBIDDEN)
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HOME).as_posix())
def test_no_layer_imports_what_stands_above_it(path):
    layer = path.relative_to(HOME).parts[0]
    assert not imported(path) & FORBIDDEN[layer]


def test_mlflow_is_known_to_one_module():
    assert [path.name for path in FILES if "mlflow" in imported(path)] == ["tracking.py"]


def test_a_task_file_has_the_name_of_the_module_that_it_wraps():
    for path in (HOME / "tasks").glob("*.py"):
        if path.stem not in ("__init__", "forks", "reconnection", "retries", "runners"):
            module = HOME / "audiocls" / path.stem
            assert module.with_suffix(".py").exists() or (module / "__init__.py").exists(), path.name


def test_reading_params_loads_neither_torch_nor_transformers():
    script = "import sys, audiocls.params_file; sys.exit(bool({'torch', 'transformers', 'prefect'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], cwd=HOME, check=False).returncode == 0


def test_importing_the_library_writes_nothing_and_sets_up_no_logging(tmp_path):
    modules = [
        ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.relative_to(HOME).parts[0] == "audiocls"
    ]
    script = (
        f"import importlib, logging; [importlib.import_module(name) for name in {modules!r}]\n"
        "logger = logging.getLogger('audiocls'); assert not logger.handlers and logger.level == logging.NOTSET"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []
