"""The bar of a training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from audiocls.training.step_progress import StepReporter, step_progress


class FakeBar:
    def __init__(self) -> None:
        self.total = self.done = 0.0
        self.facts: tuple[str, ...] = ()

    def advance(self, amount):
        self.done += amount

    def expect(self, total):
        self.total = total

    def say(self, *facts):
        self.facts = facts


def test_steps_of_a_checkpoint_are_done_and_clips_per_second_are_of_this_run(monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr("audiocls.training.step_progress.time.perf_counter", lambda: next(clock))
    bar = FakeBar()
    reporter = StepReporter(bar)
    args = SimpleNamespace(train_batch_size=8, gradient_accumulation_steps=2)
    state = SimpleNamespace(max_steps=100, global_step=40)
    reporter.on_train_begin(args, state, None)
    assert (bar.done, bar.total) == (40, 100)
    reporter.on_log(args, state, None, logs={"loss": 0.77528})
    reporter.on_log(args, state, None, logs={"eval_loss": 2.0})
    state.global_step = 41
    reporter.on_step_end(args, state, None)
    assert bar.done == 41
    assert bar.facts == ("loss 0.7753", "4 clips/s")


@pytest.mark.parametrize(("processes", "reporters"), [(1, 1), (2, 0)])
def test_several_processes_show_no_bars(processes, reporters):
    with step_progress(SimpleNamespace(world_size=processes)) as callbacks:
        assert len(callbacks) == reporters
