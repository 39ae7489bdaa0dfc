from __future__ import annotations

import yaml

from audiocls.diagnosis.remedies import added_transforms, usable
from audiocls.params import RunParams
from audiocls.params_file import override_params


def params(**sections):
    return RunParams.model_validate({"data": {"source": "sample"}} | sections)


def test_what_the_run_has_and_what_conflicts_with_it_is_left_out():
    run = params(balance={"method": "focal"}, training={"weight_decay": 0.1})
    wanted = (
        "training.weight_decay=0.1",
        "training.label_smoothing=0.1",
        "model.freeze=feature_encoder",
        "audio.pad=repeat",
    )
    assert usable(run, wanted) == ("audio.pad=repeat",)


def test_there_are_at_most_three_and_none_twice():
    wanted = [f"seed={seed}" for seed in (1, 1, 2, 3, 4)]
    assert usable(params(), wanted) == ("seed=1", "seed=2", "seed=3")


def test_transforms_are_added_to_those_that_the_run_has():
    run = params(augmentation=[{"kind": "gain", "max_db": 3.0}])
    override = added_transforms(run, [{"kind": "gain"}, {"kind": "noise"}])
    steps = override_params(run, [override]).augmentation
    assert [step.kind for step in steps] == ["gain", "noise"]
    assert steps[0].max_db == 3.0
    assert usable(run, [added_transforms(run, [{"kind": "gain"}])]) == ()


def test_an_override_is_yaml_that_can_be_pasted():
    override = added_transforms(params(), [{"kind": "speed", "min_factor": 0.7}])
    assert yaml.safe_load(override.partition("=")[2]) == [{"kind": "speed", "min_factor": 0.7}]


def test_what_trains_nothing_is_not_suggested_if_only_a_head_is_fitted_or_steps_are_counted():
    head = params(balance={"method": "smote"}, model={"pretrained": "checkpoints/base", "family": "wav2vec2"})
    assert usable(head, ("training.learning_rate=0.1", "audio.pad=repeat")) == ("audio.pad=repeat",)
    counted = params(training={"max_steps": 100})
    assert usable(counted, ("training.epochs=30", "training.max_steps=300")) == ("training.max_steps=300",)
