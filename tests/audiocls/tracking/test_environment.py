from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from audiocls.tracking import environment

HOME = Path(__file__).resolve().parents[3]


def test_the_environment_names_packages_and_is_json():
    described = environment.describe_environment()
    assert json.loads(json.dumps(described)) == described
    assert {"torch", "transformers", "mlflow", "prefect"} <= set(described["packages"])
    assert described["cpu_count"] >= 1


def test_the_revision_is_that_of_this_code_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HOME, capture_output=True, text=True, check=True)
    revision = environment.git_revision()
    assert revision is not None
    assert revision[0] == head.stdout.strip()


def test_changes_on_top_of_a_revision_are_told(tmp_path, monkeypatch):
    code = tmp_path / "environment.py"
    shutil.copy(environment.__file__, code)
    monkeypatch.setattr(environment, "__file__", str(code))
    assert environment.git_revision() is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    assert environment.git_revision()[1] is False
    code.write_text("changed")
    assert environment.git_revision()[1] is True


def test_a_checkout_that_does_not_hold_this_code_is_not_its_revision(tmp_path, monkeypatch):
    installed = tmp_path / ".venv" / "environment.py"
    installed.parent.mkdir()
    shutil.copy(environment.__file__, installed)
    monkeypatch.setattr(environment, "__file__", str(installed))
    (tmp_path / "thesis.txt").write_text("somebody else's")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "thesis.txt"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    assert environment.git_revision() is None
