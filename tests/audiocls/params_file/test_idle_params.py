"""What would have no effect is refused, and what is written as its default is not."""

from __future__ import annotations

import pytest

from audiocls.params.model import FAMILIES, RAW_WAVEFORM_FAMILIES
from audiocls.params.run import RunParams
from audiocls.params.training import WITHOUT_TRAINING, TrainingParams
from audiocls.params_file.candidates import list_candidates, params_to_train
from audiocls.params_file.conflicts import find_conflicts
from audiocls.params_file.reading import dump_params, load_params

PRETRAINED = {"family": "wav2vec2", "pretrained": "a/folder"}
RECIPE = {
    "epochs": 3.0, "optimizer": "sgd", "learning_rate": 1e-3, "batch_size": 8, "gradient_accumulation_steps": 8,
    "early_stopping_patience": 2, "best_metric": "loss",
}  # fmt: skip
LEVERS = {
    "head_learning_rate": 1.0, "layer_decay": 0.5, "gradient_checkpointing": True, "label_smoothing": 0.1,
    "processes": 4, "ema_decay": 0.9, "compile": True,
}  # fmt: skip


def params(**sections):
    return RunParams.model_validate({"data": {"source": "sample"}} | sections)


def keys(**sections):
    return [key for key, _ in find_conflicts(params(**sections))]


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_a_head_fitted_on_embeddings_takes_no_lever_of_training(method):
    found = keys(balance={"method": method}, model=PRETRAINED, training=RECIPE | LEVERS)
    assert sorted(found) == sorted(f"training.{name}" for name in LEVERS)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"freeze": "encoder"}, []),
        ({"freeze": "feature_encoder"}, ["model.freeze"]),
        ({"freeze_layers": 1}, ["model.freeze_layers"]),
        ({"lora": {}}, ["model.lora"]),
    ],
)
def test_a_head_fitted_on_embeddings_leaves_no_part_of_the_encoder_to_train(model, expected):
    if "lora" in model:
        pytest.importorskip("peft", reason="the extra lora is not installed")
    assert keys(balance={"method": "smote"}, model=PRETRAINED | model) == expected


def test_a_head_fitted_on_embeddings_takes_what_says_how_they_are_computed():
    used = {"eval_batch_size": 3, "resume": False, "device": "cpu"}
    assert set(used) == set(WITHOUT_TRAINING)
    assert keys(balance={"method": "smote"}, model=PRETRAINED, training=used) == []


def test_levers_beside_smote_may_be_of_a_comparison_that_trains_by_other_methods():
    training = {"epochs": 3.0, "ema_decay": 0.9}
    comparison = {"end_to_end": ["weighted_loss"]}
    assert keys(balance={"method": "smote"}, model=PRETRAINED, training=training, comparison=comparison) == []


@pytest.mark.parametrize(
    "sections",
    [
        {"balance": {"method": "smote"}, "model": PRETRAINED},
        {"model": PRETRAINED | {"freeze": "encoder"}, "training": {"head_learning_rate": 1e-3}},
        {"model": {"family": "clap"}, "audio": {"truncate": "fusion"}},
        {},
    ],
)
def test_a_file_that_names_every_key_loads(sections, tmp_path):
    asked = params(**sections)
    (tmp_path / "all.yaml").write_text(dump_params(asked))
    assert load_params(tmp_path / "all.yaml") == asked


def test_what_a_comparison_advises_has_no_idle_params():
    asked = params(
        model=PRETRAINED | {"freeze_layers": 1},
        training={**RECIPE, **LEVERS, "device": "cpu"},
        augmentation=[{"kind": "gain"}],
    )
    assert find_conflicts(asked) == []
    advised = {each.name: params_to_train(asked, each) for each in list_candidates(asked)}
    assert not any(find_conflicts(each) for each in advised.values())
    assert advised["smote"].training == TrainingParams(device="cpu")
    assert advised["none"].training.epochs == 3.0


@pytest.mark.parametrize("name", ["layer_decay", "gradient_checkpointing"])
def test_a_frozen_encoder_takes_no_lever_of_its_layers(name):
    assert keys(model={"family": "hubert", "freeze": "encoder"}, training={name: LEVERS[name]}) == [f"training.{name}"]
    assert keys(model={"family": "hubert"}, training={name: LEVERS[name]}) == []


@pytest.mark.parametrize(
    ("training", "allowed"),
    [
        ({"epochs": 3.0, "early_stopping_patience": 2}, True),
        ({"epochs": 2.5, "early_stopping_patience": 2}, True),
        ({"epochs": 3.0, "early_stopping_patience": 3}, False),
        ({"epochs": 3.0, "early_stopping_patience": 3, "max_steps": 1_000}, True),
    ],
)
def test_patience_ends_before_the_training(training, allowed):
    assert keys(training=training) == ([] if allowed else ["training.early_stopping_patience"])


@pytest.mark.parametrize("family", FAMILIES)
def test_only_spectrograms_are_kept(family):
    makes_none = family in ("logmel-resnet", *RAW_WAVEFORM_FAMILIES)
    audio = {"cache_features": "always"}
    assert keys(model={"family": family}, audio=audio) == (["audio.cache_features"] if makes_none else [])


def test_fused_clips_have_no_windows_to_overlap():
    assert keys(model={"family": "clap"}, audio={"truncate": "fusion", "window_overlap": 0.9}) == [
        "audio.window_overlap"
    ]
