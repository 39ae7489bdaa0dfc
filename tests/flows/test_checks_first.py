"""A run that cannot end well does not begin."""

from __future__ import annotations

import pytest
from flow_runs import run_flow

from flows.balance import balance_flow
from flows.train import train_flow


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("flow", [train_flow, balance_flow])
def test_nothing_is_decoded_for_a_checkpoint_that_is_not_there(flow, tones, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(
        f"workspace: {tmp_path / 'workspace'}\ndata: {{source: folder, path: {tones}, group_by: file}}\n"
        f"model: {{family: wav2vec2, pretrained: {tmp_path / 'none'}}}\n"
    )
    assert run_flow(flow, [str(file)]) == 2
    said = capsys.readouterr().err
    assert f"error: model.pretrained = {tmp_path / 'none'}: cannot be loaded: the folder does not exist" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "workspace").rglob("*.parquet"))
