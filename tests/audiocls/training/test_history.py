from __future__ import annotations

import numpy as np

from audiocls.training.history import keeping_history, read_history


def test_metrics_are_kept_by_step_and_still_logged(tmp_path):
    logged = []
    log = keeping_history(tmp_path, lambda metrics, step: logged.append((step, metrics)), resumed=False)
    log({"train/loss": 2.0}, 1)
    log({"train/loss": 1.0}, 10)
    log({"validation/loss": 1.5}, 10)
    history = read_history(tmp_path)
    assert logged == [(1, {"train/loss": 2.0}), (10, {"train/loss": 1.0}), (10, {"validation/loss": 1.5})]
    assert history["train/loss"].tolist() == [2.0, 1.0]
    assert np.isnan(history["validation/loss"][0])
    assert history["validation/loss"][1] == 1.5


def test_a_resumed_training_replaces_the_steps_that_it_repeats_and_a_new_one_starts_afresh(tmp_path):
    for resumed, losses in ((False, [3.0, 2.0]), (True, [1.0])):
        log = keeping_history(tmp_path, lambda metrics, step: None, resumed=resumed)
        for step, loss in enumerate(losses, start=0 if not resumed else 1):
            log({"train/loss": loss}, step)
    assert read_history(tmp_path)["train/loss"].tolist() == [3.0, 1.0]
    keeping_history(tmp_path, lambda metrics, step: None, resumed=False)({"train/loss": 9.0}, 0)
    assert read_history(tmp_path)["train/loss"].tolist() == [9.0]
