"""The command `audiocls`: what it answers, with what status, and what it imports to do so."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from flows.cli import main

HOME = Path(__file__).resolve().parents[2]
QUICKSTART = str(HOME / "params" / "quickstart.yaml")
HEAVY = {"torch", "transformers", "prefect", "mlflow", "pandas", "pyarrow", "datasets", "sklearn", "matplotlib"}
PARAMS_COMMANDS = ("train", "evaluate", "ingest", "balance", "sync", "explain", "stores")
COMMANDS = (*PARAMS_COMMANDS, "compare", "predict", "listen", "diagnose", "init", "schema")

# Runs the command in a process of its own, and says at its end which of the heavy packages were imported.
IMPORTS = f"""
import sys
from flows.cli import main
status = main(sys.argv[1:])
sys.stdout.write("\\n" + " ".join(sorted({HEAVY!r} & set(sys.modules))))
sys.exit(status)
"""
# Runs a module as `python -m` does, and says the same at its end.
MODULE_IMPORTS = f"""
import runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
finally:
    sys.stdout.write("\\n" + " ".join(sorted({HEAVY!r} & set(sys.modules))))
"""
WITHOUT_PREFECT = """
import sys
sys.modules["prefect"] = None  # what is None cannot be imported
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=HOME, capture_output=True, text=True, check=False
    )


def test_the_package_installs_the_command_and_what_it_needs():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["audiocls"].partition(":")
    assert getattr(import_module(module), name) is main
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["audiocls", "flows", "tasks"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["predict", "--help"], 0),
        (["sync", "--help"], 0),
        (["listen", "--help"], 0),
        (["evaluate", "--help"], 0),
        (["compare", "--help"], 0),
        (["evaluate", "model", QUICKSTART, "seed=many"], 2),
        (["train", QUICKSTART, "trainin.epochs=3"], 2),
        (["train", QUICKSTART, "seed=many"], 2),
        (["balance", QUICKSTART, "seed=many"], 2),
        (["explain", QUICKSTART, "clip", "seed=many"], 2),
        (["stores", QUICKSTART, "seed=many"], 2),
        (["sync", QUICKSTART, "seed=many"], 2),
        (["diagnose", "nowhere"], 2),
        (["schema"], 0),
    ],
)
def test_help_and_mistakes_are_answered_before_anything_heavy_is_imported(arguments, status):
    done = run(IMPORTS, *arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout.rpartition("\n")[2] == ""


@pytest.mark.parametrize("name", ["train", "ingest", "balance"])
def test_a_flow_as_a_module_is_the_same_command_and_answers_mistakes_before_anything_heavy_is_imported(name):
    as_module = run(MODULE_IMPORTS, f"flows.{name}", QUICKSTART, "seed=many")
    as_command = run(IMPORTS, name, QUICKSTART, "seed=many")
    assert as_module.returncode == as_command.returncode == 2
    assert as_module.stderr == as_command.stderr
    assert as_module.stdout.rpartition("\n")[2] == ""


def test_the_check_of_imports_sees_what_is_imported():
    assert "pandas" in run(f"import pandas\n{IMPORTS}", "schema").stdout.rpartition("\n")[2].split()


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f" {name} " not in said] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_what_it_takes(name, capsys):
    assert main([name, "-h"]) == 0
    said = capsys.readouterr().out
    assert f"audiocls {name}" in said
    assert ("training.epochs=3" in said) == (name in PARAMS_COMMANDS)


@pytest.mark.parametrize(("typed", "meant"), [("trian", "train"), ("explian", "explain"), ("store", "stores")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed, meant, capsys):
    assert main([typed, QUICKSTART]) == 2
    assert meant in capsys.readouterr().err


def test_a_mistake_in_the_params_is_said_without_a_traceback(capsys):
    assert main(["train", QUICKSTART, "training.epoch=3"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {QUICKSTART}: 1 mistake in the params:")
    assert "did you mean training.epochs?" in said.err


def test_without_prefect_a_flow_says_what_to_install(tmp_path):
    done = run(WITHOUT_PREFECT, "train", QUICKSTART, f"workspace={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == (
        "error: this command needs the package prefect, which is not installed: pip install 'audiocls[pipeline]'\n"
    )


def test_without_prefect_a_schema_is_printed():
    assert json.loads(run(WITHOUT_PREFECT, "schema").stdout)["title"] == "RunParams"


def test_stores_and_explain_do_what_their_modules_do(tmp_path, tones, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(f"workspace: {tmp_path / 'workspace'}\ndata: {{source: folder, path: {tones}}}\n")
    assert main(["stores", str(file), "--remove-unused-days", "0", "--yes"]) == 0
    assert capsys.readouterr().out == "0 of 0 stores, 0.0 MB, removed: none\n"
    assert main(["explain", str(file), "nowhere.wav"]) == 2
    assert "error: nowhere.wav: data lists no clip with this id or path" in capsys.readouterr().err
    clip = next(tones.rglob("*.wav"))
    assert main(["explain", str(file), str(clip), "seed=3"]) == 0
    assert f"path: {clip}" in capsys.readouterr().out


def test_keys_are_completed():
    script = "from flows.cli import main; main([])"
    line = {"_AUDIOCLS_COMPLETE": "complete_bash", "COMP_WORDS": "audiocls train a.yaml training.ep", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, env=line | {"PYTHONPATH": str(HOME)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "training.epochs=" in done.stdout.splitlines(), done.stderr


def test_init_writes_params_that_train_reads_and_says_what_it_saw(tmp_path, tones, capsys):
    file = tmp_path / "params.yaml"
    assert main(["init", str(tones), "--out", str(file)]) == 0
    said = capsys.readouterr().out
    assert " clips of " in said
    assert said.endswith(f"Wrote {file}. Review it, then run: audiocls train {file}\n")
    assert main(["stores", str(file), f"workspace={tmp_path / 'workspace'}"]) == 0
    assert main(["init", str(tones), "--out", str(file)]) == 2
    assert "is there already, and is not written over" in capsys.readouterr().err
