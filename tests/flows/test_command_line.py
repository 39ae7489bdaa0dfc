"""What a flow's command line prints at its end."""

from __future__ import annotations

import json

import pytest

from flows.command_line import print_result


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_folds_long_names_and_cuts_none_off(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "q" * 60
    table = ["| method | macro-F1 | over none |", "|---|---|---|", f"| {name} | 0.888 [0.802, 0.992] | +0.220 |"]
    print_result({"run_id": "1", "summary": "\n".join(table)})
    said = capsys.readouterr()
    assert said.err.count("q") == len(name)
    assert json.loads(said.out.splitlines()[-1]) == {"run_id": "1"}
