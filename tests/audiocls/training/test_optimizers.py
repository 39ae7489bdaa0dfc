from __future__ import annotations

import pytest
import torch
from tiny_configs import TINY_CONFIGS
from transformers import Trainer

from audiocls.models.depth import encoder_of, num_layers, parameter_depths
from audiocls.models.families import build_model
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams
from audiocls.params.training import TrainingParams
from audiocls.training.arguments import training_arguments
from audiocls.training.losses import CrossEntropy
from audiocls.training.optimizers import parameter_groups
from audiocls.training.trainer import ClassifierTrainer


@pytest.fixture(params=FAMILIES)
def model(request):
    params = ModelParams(family=request.param, config=TINY_CONFIGS[request.param])
    return build_model(params, AudioParams(max_seconds=0.3), ["a", "b", "c"])[0]


def settings_by_name(model, params: TrainingParams, setting: str) -> dict[str, float]:
    groups = parameter_groups(model, params)
    found = {id(parameter): group[setting] for group in groups for parameter in group["params"]}
    return {name: found[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in found}


def trained(model) -> list[tuple[str, torch.nn.Parameter]]:
    """All parameters but Whisper's positions, which are sinusoids."""
    found = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(list(model.parameters())) - len(found) == (model.config.model_type == "whisper")
    return found


def test_every_layer_has_its_depth_and_the_head_is_the_deepest(model):
    depths = parameter_depths(model)
    assert num_layers(model) == 2
    assert set(depths.values()) == {0, 1, 2, 3}
    for name, depth in depths.items():
        assert (depth == 3) == name.startswith(("classifier", "projector")), name
        lowest = ("encoder.layers.0.", "encoder.layer.0.", "encoder.blocks.0.", "transformer.layers.0.")
        assert (depth == 1) == any(part in name for part in lowest)


def test_biases_and_norms_have_no_weight_decay(model):
    decays = settings_by_name(model, TrainingParams(weight_decay=0.3), "weight_decay")
    for name, parameter in trained(model):
        assert decays[name] == (0.3 if parameter.ndim >= 2 else 0.0), name


def test_every_layer_learns_at_a_share_of_the_rate_of_the_layer_above(model):
    rates = settings_by_name(model, TrainingParams(learning_rate=0.08, layer_decay=0.5), "lr")
    depths = parameter_depths(model)
    for name, depth in ((name, depths[name]) for name, _ in trained(model)):
        assert rates[name] == pytest.approx({3: 0.08, 2: 0.04, 1: 0.02, 0: 0.01}[depth]), name


def test_the_head_has_a_rate_of_its_own(model):
    rates = settings_by_name(model, TrainingParams(learning_rate=0.01, head_learning_rate=0.5), "lr")
    depths = parameter_depths(model)
    for name, depth in ((name, depths[name]) for name, _ in trained(model)):
        assert rates[name] == (0.5 if depth == 3 else 0.01), name


def test_what_is_frozen_is_in_no_group(model):
    encoder_of(model).requires_grad_(False)
    assert set(settings_by_name(model, TrainingParams(), "lr")) == {
        name for name, depth in parameter_depths(model).items() if depth == 3
    }


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "sgd", "rmsprop", "adagrad"])
def test_the_optimizer_takes_the_groups_and_sgd_has_momentum(optimizer, tmp_path):
    model = build_model(ModelParams(config={"channels": [4, 8]}), AudioParams(max_seconds=0.3), ["a", "b"])[0]
    params = TrainingParams(optimizer=optimizer, learning_rate=0.08, layer_decay=0.5)
    arguments = training_arguments(params, 0, tmp_path)
    trainer = ClassifierTrainer(model=model, args=arguments, eval_dataset=[], params=params, loss=CrossEntropy())
    made = trainer.create_optimizer()
    assert {group["lr"] for group in made.param_groups} == {0.08, 0.04, 0.02, 0.01}
    assert made.param_groups[0]["lr"] == 0.08  # the one that is logged
    assert all(group.get("momentum") == 0.9 for group in made.param_groups) or optimizer != "sgd"
    plain = Trainer(model=model, args=arguments, eval_dataset=[]).create_optimizer()
    assert isinstance(made, torch.optim.SGD if optimizer == "sgd" else type(plain))
