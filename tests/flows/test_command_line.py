"""What a flow's command line prints at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.command_line import print_result

HOME = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_folds_long_names_and_cuts_none_off(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "q" * 60
    table = ["| method | macro-F1 | over none |", "|---|---|---|", f"| {name} | 0.888 [0.802, 0.992] | +0.220 |"]
    print_result({"run_id": "1", "summary": "\n".join(table)})
    said = capsys.readouterr()
    assert said.err.count("q") == len(name)
    assert json.loads(said.out.splitlines()[-1]) == {"run_id": "1"}


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback():
    code = "import sys; from flows.command_line import exit_status; sys.exit(exit_status(lambda: print('x' * 10**6)))"
    command = f'"{sys.executable}" -c "{code}" | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=HOME, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("141\n", "")
