from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from audiocls.models.families import build_model
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams
from audiocls.training.averaging import FILE, WeightAverage


@pytest.fixture
def model():
    return build_model(ModelParams(config={"channels": [4, 8]}), AudioParams(max_seconds=0.3), ["a", "b"])[0]


def moved(model, by: float) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())):
            tensor.add_(by)


def after_steps(model, decay: float, arguments: TrainingArguments) -> WeightAverage:
    average = WeightAverage(model, decay)
    average.on_train_begin(arguments, TrainerState(), TrainerControl())
    for step in (1, 2, 3):
        moved(model, 1.0)
        average.on_step_end(arguments, TrainerState(global_step=step), TrainerControl())
    return average


@pytest.fixture
def arguments(tmp_path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


@pytest.mark.parametrize(("decay", "decays"), [(0.05, (0.05, 0.05)), (0.15, (1 / 10, 0.15)), (0.9, (1 / 10, 2 / 11))])
def test_the_average_is_the_recursion_from_the_first_step_on(decay, decays, model, arguments):
    start = copy.deepcopy(model.state_dict())
    average = after_steps(model, decay, arguments)
    moved_by = decays[1] * (decays[0] * 1.0 + (1 - decays[0]) * 2.0) + (1 - decays[1]) * 3.0
    with average.in_model():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                torch.testing.assert_close(tensor, start[name] + moved_by, atol=1e-5, rtol=0)


def test_a_short_training_keeps_nothing_of_its_first_weights(model, arguments):
    average = WeightAverage(model, 0.999)
    average.on_train_begin(arguments, TrainerState(), TrainerControl())
    first = model.classifier.weight.detach().clone()
    for step in range(1, 51):
        if step == 10:
            moved(model, 1.0)
        average.on_step_end(arguments, TrainerState(global_step=step), TrainerControl())
    with average.in_model():
        torch.testing.assert_close(model.classifier.weight, first + 1, atol=1e-4, rtol=0)


def test_the_model_is_given_back_as_it_was(model, arguments):
    average = after_steps(model, 0.9, arguments)
    before = copy.deepcopy(model.state_dict())
    with average.in_model():
        assert not torch.equal(model.classifier.weight, before["classifier.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_checkpoint_holds_the_average_and_training_goes_on_from_it(model, arguments, tmp_path):
    average = after_steps(model, 0.9, arguments)
    (tmp_path / "checkpoint-3").mkdir()
    average.save(tmp_path / "checkpoint-3")
    saved = load_file(tmp_path / "checkpoint-3" / FILE)
    fresh = WeightAverage(model, 0.9)
    fresh.on_train_begin(arguments, TrainerState(global_step=3), TrainerControl())
    for one in (average, fresh):
        moved(model, 1.0)
        one.on_step_end(arguments, TrainerState(global_step=4), TrainerControl())
        moved(model, -1.0)
    with average.in_model():
        undisturbed = copy.deepcopy(model.state_dict())
    assert not torch.equal(saved["classifier.weight"], undisturbed["classifier.weight"])
    with fresh.in_model():
        assert all(torch.equal(tensor, undisturbed[name]) for name, tensor in model.state_dict().items())
