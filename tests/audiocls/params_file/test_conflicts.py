from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from audiocls.models.adapters import ADAPTERS
from audiocls.params.model import FAMILIES
from audiocls.params.run import RunParams
from audiocls.params_file.conflicts import find_conflicts
from audiocls.params_file.conflicts.model import RESERVED_CONFIG_FIELDS


def conflicts(**sections):
    return find_conflicts(RunParams.model_validate({"data": {"source": "sample"}} | sections))


def test_the_defaults_of_every_family_do_not_conflict():
    assert FAMILIES
    for family in FAMILIES:
        assert conflicts(model={"family": family}) == []


@pytest.mark.parametrize(
    ("pattern", "group_by", "allowed"),
    [
        ("(?P<group>.*)/(?P<label>.*)", "folder", False),
        ("(?P<group>.*)/(?P<label>.*)", "file", True),
        (".*/(?P<label>.*)", "folder", True),
        (None, "folder", True),
    ],
)
def test_groups_come_from_the_pattern_or_from_the_folder(pattern, group_by, allowed):
    found = conflicts(data={"source": "folder", "path": Path("a"), "pattern": pattern, "group_by": group_by})
    assert [key for key, _ in found] == ([] if allowed else ["data.group_by"])


@pytest.mark.parametrize(("test", "validation", "allowed"), [(0.5, 0.4, True), (0.5, 0.5, False), (0.9, 0.2, False)])
def test_the_held_out_shares_leave_clips_to_train_on(test, validation, allowed):
    found = conflicts(split={"test_fraction": test, "validation_fraction": validation})
    assert [key for key, _ in found] == ([] if allowed else ["split.test_fraction"])


@pytest.mark.parametrize(
    ("sections", "keys"),
    [
        ({"split": {"folds": 5, "fold": 4}}, []),
        ({"split": {"folds": 5, "fold": 0, "test_fraction": None, "validation_fraction": 0.9}}, []),
        ({"split": {"folds": 5, "fold": 5}}, ["split.fold"]),
        ({"split": {"folds": 5}}, ["split.folds"]),
        ({"split": {"fold": 0}}, ["split.fold"]),
        ({"split": {"folds": 5, "fold": 0, "test_fraction": 0.15}}, ["split.test_fraction"]),
        (
            {"split": {"folds": 2, "fold": 0}, "data": {"source": "table", "path": Path("a.csv"), "split_column": "s"}},
            ["data.split_column"],
        ),
        (
            {"split": {"folds": 2, "fold": 0}, "data": {"source": "hub", "name": "a/b", "splits": {"train": "train"}}},
            ["data.splits"],
        ),
    ],
)
def test_folds_are_the_one_split(sections, keys):
    assert [key for key, _ in conflicts(**sections)] == keys


def test_the_shortest_clip_is_shorter_than_the_longest():
    ((key, message),) = conflicts(audio={"min_seconds": 5.0, "max_file_seconds": 5.0})
    assert key == "audio.min_seconds"
    assert "5.0" in message
    assert "audio.max_file_seconds" in message


@pytest.mark.parametrize(
    ("runner", "store", "key"),
    [
        ({}, None, None),
        ({"kind": "process", "workers": 3}, None, None),
        ({"address": "tcp://host:8786"}, None, "runner.address"),
        ({"kind": "process", "address": "tcp://host:8786"}, None, "runner.address"),
        ({}, "memory://stores", None),
        ({"kind": "process"}, "memory://stores", "audio.store"),
        ({}, "nowhere://stores", "audio.store"),
    ],
)
def test_the_runner_reaches_what_it_needs(runner, store, key):
    assert [found for found, _ in conflicts(runner=runner, audio={"store": store})] == ([] if key is None else [key])


@pytest.mark.parametrize(("rate_hz", "seconds", "keys"), [
    (16_000, 62_500, []), (16_000, 62_501, ["audio.max_file_seconds"]), (192_000, 5_209, ["audio.max_file_seconds"]),
])  # fmt: skip
def test_a_recording_fits_a_cell_of_the_store(rate_hz, seconds, keys):
    audio = {"sample_rate_hz": rate_hz, "max_file_seconds": seconds}
    assert [key for key, _ in conflicts(audio=audio)] == keys


def test_a_cluster_says_itself_how_many_workers_it_has(monkeypatch):
    monkeypatch.setattr("audiocls.params_file.conflicts.data.find_spec", lambda name: name)
    cluster = {"kind": "dask", "address": "tcp://host:8786"}
    assert conflicts(runner=cluster) == []
    assert [key for key, _ in conflicts(runner=cluster | {"workers": 2})] == ["runner.workers"]


def test_a_runner_that_is_not_installed_is_said_with_its_extra(monkeypatch):
    monkeypatch.setattr("audiocls.params_file.conflicts.data.find_spec", lambda name: None)
    assert conflicts(runner={"kind": "ray"}) == [("runner.kind", "= 'ray': needs pip install 'audiocls[ray]'")]


@pytest.mark.parametrize("family", ["logmel-resnet", "audio-spectrogram-transformer"])
def test_a_family_without_a_front_end_cannot_freeze_it(family):
    ((key, message),) = conflicts(model={"family": family, "freeze": "feature_encoder"})
    assert key == "model.freeze"
    assert family in message
    assert conflicts(model={"family": family, "freeze": "encoder"}) == []


def test_a_family_with_a_front_end_may_freeze_it():
    assert conflicts(model={"family": "hubert", "freeze": "feature_encoder"}) == []


def test_beta_belongs_to_the_effective_number():
    balance = {"method": "weighted_loss", "beta": 0.9}
    assert [key for key, _ in conflicts(balance=balance)] == ["balance.beta"]
    assert conflicts(balance=balance | {"weighting": "effective_number"}) == []
    assert [key for key, _ in conflicts(balance={"method": "focal", "beta": 0.9})] == ["balance.beta"]
    assert conflicts(balance={"method": "focal", "beta": 0.9, "weighting": "effective_number"}) == []


@pytest.mark.parametrize("method", ["oversample", "undersample", "decoupled"])
def test_the_clips_of_a_class_are_said_once(method):
    balance = {"method": method, "ratio": 0.5, "counts": {"a": 3}}
    assert [key for key, _ in conflicts(balance=balance)] == ["balance.ratio"]
    assert conflicts(balance={"method": method, "counts": {"a": 3}}) == []


@pytest.mark.parametrize(("method", "keys"), [("focal", 1), ("ldam", 1), ("logit_adjusted", 0), ("weighted_loss", 0)])
def test_smoothed_targets_are_for_losses_in_which_they_mean_something(method, keys):
    found = conflicts(balance={"method": method}, training={"label_smoothing": 0.1})
    assert [key for key, _ in found] == ["training.label_smoothing"] * keys


@pytest.mark.parametrize("method", ["smote", "borderline_smote", "adasyn", "smote_tomek", "smote_enn"])
def test_synthetic_samples_need_a_trained_encoder_and_decoupled_is_offered(method):
    ((key, message),) = conflicts(balance={"method": method})
    assert key == "balance.method"
    assert f"{{method: decoupled, resampling: {method}}}" in message
    assert conflicts(balance={"method": method}, model={"pretrained": "somewhere"}) == []
    assert conflicts(balance={"method": "decoupled", "resampling": method}) == []
    assert conflicts(balance={"method": "weighted_loss"}) == []


def test_a_gpu_is_asked_for_only_where_there_is_one():
    torch = pytest.importorskip("torch")
    found = conflicts(training={"device": "cuda"})
    assert [key for key, _ in found] == ([] if torch.cuda.is_available() else ["training.device"])


def test_impossible_combinations_are_told_together():
    found = conflicts(
        split={"test_fraction": 0.7, "validation_fraction": 0.7},
        audio={"min_seconds": 9.0, "max_file_seconds": 5.0},
        balance={"method": "weighted_loss", "beta": 0.9},
        model={"freeze": "feature_encoder"},
    )
    assert {key for key, _ in found} == {"split.test_fraction", "audio.min_seconds", "balance.beta", "model.freeze"}


# The fields of the model's config


def test_params_without_a_config_are_checked_without_loading_torch():
    script = """
import sys
from audiocls.params_file.conflicts import find_conflicts
from audiocls.params.run import RunParams
assert find_conflicts(RunParams.model_validate({"data": {"source": "sample"}})) == []
assert not {"torch", "transformers"} & set(sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_field_that_the_family_has_is_accepted():
    assert conflicts(model={"family": "wav2vec2", "config": {"hidden_size": 96, "hidden_dropout": 0.1}}) == []


def test_a_field_that_the_family_does_not_have_is_named_with_its_value():
    ((key, message),) = conflicts(model={"family": "wav2vec2", "config": {"hiden_size": 96}})
    assert key == "model.config.hiden_size"
    assert "96" in message
    assert "Wav2Vec2Config" in message


def test_a_field_of_the_wrong_type_is_named_with_its_value():
    ((key, message),) = conflicts(model={"family": "wav2vec2", "config": {"hidden_size": "wide"}})
    assert key.startswith("model.config")
    assert "hidden_size" in key + message
    assert "wide" in message
    assert "\n" not in message


@pytest.mark.parametrize("field", RESERVED_CONFIG_FIELDS)
def test_a_field_that_the_data_decide_is_refused(field):
    ((key, message),) = conflicts(model={"family": "wav2vec2", "config": {field: 7}})
    assert key == f"model.config.{field}"
    assert message == "= 7: comes from the data and the family; leave it out"


def test_every_wrong_field_of_the_config_is_told():
    config = {"num_labels": 3, "hiden_size": 96, "layers": 2}
    found = conflicts(model={"family": "wav2vec2", "config": config})
    assert {key for key, _ in found} == {f"model.config.{field}" for field in config}


def test_restarts_need_the_schedule_that_has_them():
    assert conflicts(training={"schedule": "cosine_with_restarts", "restarts": 2}) == []
    ((key, message),) = conflicts(training={"schedule": "cosine", "restarts": 2})
    assert key == "training.restarts"
    assert message.startswith("= 2: only training.schedule=cosine_with_restarts")


@pytest.mark.parametrize(("setting", "value"), [("precision", "fp16"), ("tf32", True)])
def test_what_only_a_gpu_has_is_refused_on_the_cpu(setting, value):
    ((key, message),) = conflicts(training={setting: value, "device": "cpu"})
    assert key == f"training.{setting}"
    assert "GPU" in message


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"kind": "gain", "min_db": -6.0, "max_db": 6.0}, None),
        ({"kind": "gain", "min_db": 8.0, "max_db": 6.0}, "min_db"),
        ({"kind": "codec", "min_bits": 9}, "min_bits"),
        ({"kind": "low_pass", "max_cutoff_hz": 8_000.0}, "max_cutoff_hz"),
        ({"kind": "codec", "bandwidth_hz": 9_000.0}, "bandwidth_hz"),
        ({"kind": "codec", "bandwidth_hz": None}, None),
        ({"kind": "background", "folder": "not/there"}, "folder"),
    ],
)
def test_an_augmentation_can_be_done(section, key):
    found = [name for name, _ in conflicts(augmentation=[{"kind": "shift"}, section])]
    assert found == ([] if key is None else [f"augmentation.1.{key}"])


def test_clips_are_mixed_where_a_batch_has_two():
    for batch_size, keys in ((1, ["augmentation.0.kind"]), (2, [])):
        found = conflicts(augmentation=[{"kind": "cutmix"}], training={"batch_size": batch_size})
        assert [key for key, _ in found] == keys


def test_clips_are_grouped_by_length_where_batches_differ_in_length():
    grouped = {"group_by_length": True}
    assert conflicts(training=grouped) == []
    assert [key for key, _ in conflicts(training=grouped, audio={"pad": "repeat"})] == ["training.group_by_length"]
    layer = {"config": {"feat_extract_norm": "layer"}}
    for family, fields, is_possible in (
        ("wav2vec2", {}, False),
        ("wav2vec2", layer, True),
        ("wavlm", {"pretrained": "a/checkpoint"}, True),  # of which training will see
        ("wav2vec2-bert", {}, True),
        ("sew", layer, False),
        ("data2vec-audio", {"pretrained": "a/checkpoint"}, False),
        ("whisper", {}, False),
        ("audio-spectrogram-transformer", {}, False),
    ):
        found = conflicts(training=grouped, model={"family": family, **fields})
        assert [key for key, _ in found] == ([] if is_possible else ["training.group_by_length"]), family
        assert all("padded to one length" in message for _, message in found)


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ({"family": "whisper", "freeze_layers": 3}, []),
        ({"family": "wav2vec2", "freeze_layers": 0, "freeze": "feature_encoder"}, ["model.freeze_layers"]),
        ({"family": "sew-d", "freeze": "feature_encoder"}, []),
        ({"family": "wav2vec2-bert", "freeze": "feature_encoder"}, ["model.freeze"]),
        ({"family": "whisper", "freeze": "feature_encoder"}, ["model.freeze"]),
        ({"family": "logmel-resnet", "lora": {}}, ["model.lora"]),
        ({"family": "wavlm", "lora": {}, "freeze": "encoder"}, ["model.freeze"]),
        ({"family": "wavlm", "lora": {}, "freeze_layers": 1}, ["model.freeze_layers"]),
    ],
)  # fmt: skip
def test_what_is_frozen_is_there_and_is_said_once(model, keys):
    pytest.importorskip("peft", reason="the extra lora is not installed")
    assert [key for key, _ in conflicts(model=model)] == keys


@pytest.mark.parametrize(
    ("family", "cache", "keys"),
    [
        ("clap", "auto", []),
        ("clap", "always", ["audio.cache_features"]),
        ("audio-spectrogram-transformer", "auto", ["audio.truncate"]),
        ("logmel-resnet", "auto", ["audio.truncate"]),
    ],
)
def test_only_clap_fuses_long_clips(family, cache, keys):
    found = conflicts(model={"family": family}, audio={"truncate": "fusion", "cache_features": cache})
    assert [key for key, _ in found] == keys


def test_lora_without_peft_says_what_to_install(monkeypatch):
    monkeypatch.setattr("audiocls.params_file.conflicts.model.find_spec", lambda name: None)
    assert conflicts(model={"family": "wavlm", "lora": {}}) == [
        ("model.lora", "= ...: needs pip install 'audiocls[lora]'")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_computed_anew_only_where_the_adapter_says_that_they_can_be(family):
    found = conflicts(model={"family": family}, training={"gradient_checkpointing": True})
    assert [key for key, _ in found] == ([] if ADAPTERS[family].can_checkpoint else ["training.gradient_checkpointing"])


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_is_for_the_families_that_say_where_it_goes(family):
    pytest.importorskip("peft", reason="the extra lora is not installed")
    found = conflicts(model={"family": family, "lora": {}})
    assert [key for key, _ in found] == ([] if ADAPTERS[family].lora_targets else ["model.lora"])


@pytest.mark.parametrize(
    ("method", "sections", "keys"),
    [
        ("focal", {"augmentation": [{"kind": "gain"}, {"kind": "mixup"}]}, ["augmentation.1.kind"]),
        ("weighted_loss", {"augmentation": [{"kind": "mixup"}]}, []),
        ("smote", {"augmentation": [{"kind": "gain"}], "model": {"pretrained": "a/folder"}}, ["augmentation"]),
        ("oversample", {"training": {"group_by_length": True}}, ["training.group_by_length"]),
        ({"method": "decoupled", "layer": 1}, {}, ["balance.layer"]),  # of logmel-resnet
        ({"method": "decoupled", "layer": "weighted"}, {"model": {"family": "whisper"}}, []),
        ({"method": "decoupled", "layer": 2}, {"model": {"family": "audio-spectrogram-transformer"}}, []),
    ],
)
def test_balance_goes_with_how_clips_come(method, sections, keys):
    section = method if isinstance(method, dict) else {"method": method}
    assert [key for key, _ in conflicts(balance=section, **sections)] == keys


TABLE = {"source": "table", "path": Path("a.csv")}


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        ({"labels": "multi"}, []),
        ({"labels": "multi", "label_separator": ";", "unknown_column": "u"}, []),
        ({"label_separator": ";"}, ["data.label_separator"]),
        ({"class_columns": ["a"]}, ["data.class_columns"]),
        ({"labels": "multi", "class_columns": ["a"], "label_columns": ["b"]}, ["data.class_columns"]),
        ({"labels": "multi", "class_columns": ["a"], "unknown_column": "u"}, ["data.unknown_column"]),
        ({"labels": "multi", "label_columns": ["b"], "label_column": "c"}, ["data.label_column"]),
        ({"labels": "multi", "events": {}}, ["data.events", "data.events"]),
        ({"labels": "multi", "events": {}, "start_column": "s", "end_column": "e"}, []),
    ],
)
def test_labels_are_given_in_one_way(data, keys):
    assert [key for key, _ in conflicts(data=TABLE | data)] == keys


@pytest.mark.parametrize(
    ("balance", "allowed"),
    [
        ({"method": "oversample"}, ("single", "multi")),
        ({"method": "weighted_loss"}, ("single", "multi")),
        ({"method": "asymmetric"}, ("multi",)),
        ({"method": "distribution_balanced"}, ("multi",)),
        ({"method": "undersample"}, ("single",)),
        ({"method": "ldam"}, ("single",)),
        ({"method": "decoupled"}, ("single",)),
        ({"method": "class_thresholds"}, ("single",)),
    ],
)
def test_a_balance_method_fits_the_number_of_labels(balance, allowed):
    for labels in ("single", "multi"):
        found = conflicts(data=TABLE | {"labels": labels}, balance=balance)
        assert [key for key, _ in found] == ([] if labels in allowed else ["balance.method"])
