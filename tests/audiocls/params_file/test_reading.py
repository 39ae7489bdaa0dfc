from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from audiocls.errors import ParamsError
from audiocls.params.balance import BalanceParams, NoBalance, Undersample, WeightedLoss
from audiocls.params.data import FolderData, HubData, SampleData, TableData
from audiocls.params.model import FAMILIES
from audiocls.params.run import RunParams, json_schema
from audiocls.params_file.reading import dump_params, load_params, override_params

DATA = "data: {source: folder, path: recordings}\n"
METHODS = ", ".join(
    repr(tag) for method in get_args(BalanceParams) for tag in get_args(method.model_fields["method"].annotation)
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("params") / "run.yaml"


@pytest.fixture
def load(file):
    """A function that loads the text of a params file."""

    def load_text(text, *overrides):
        file.write_text(text, encoding="utf-8")
        return load_params(file, overrides)

    return load_text


@pytest.fixture
def mistakes(load, file):
    """A function that returns the lines of the one error that a text and overrides lead to, after its heading."""

    def of(text, *overrides):
        with pytest.raises(ParamsError) as caught:
            load(text, *overrides)
        heading, *lines = str(caught.value).splitlines()
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        assert heading == f"{file}: {count} in the params:"
        return [line.strip() for line in lines]

    return of


# What is right


def test_what_the_file_does_not_say_keeps_its_default(load):
    params = load(DATA + "training: {epochs: 3}\n")
    assert params.training.epochs == 3
    assert params.training.learning_rate == RunParams.model_fields["training"].default.learning_rate
    assert params.data == FolderData(source="folder", path=Path("recordings"))


@pytest.mark.parametrize(
    ("text", "number"), [("5e-5", 5e-5), ("5E-5", 5e-5), ("1e3", 1000), (".5e1", 5), ("5.0e-5", 5e-5), ("1", 1)]
)
def test_a_number_with_an_exponent_is_a_number(load, text, number):
    assert load(DATA + f"training: {{learning_rate: {text}}}\n").training.learning_rate == number
    assert load(DATA, f"training.learning_rate={text}").training.learning_rate == number


def test_text_that_only_resembles_a_number_stays_text(load):
    assert load(DATA + "experiment: e5\n").experiment == "e5"
    assert load(DATA + "experiment: '5e-5'\n").experiment == "5e-5"


def test_a_section_merged_from_an_anchor_is_read(load):
    params = load("data: &here {source: folder, path: a}\nmodel: {config: {}}\n")
    assert params.data.path == Path("a")
    merged = load("data:\n  <<: &here {source: folder, path: a}\n  path: b\n")
    assert merged.data.path == Path("b")


# What is wrong: one mistake


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trainig: {epochs: 3}", "trainig = {'epochs': 3}: unknown key; did you mean training?"),
        ("audio: {max_second: 3}", "audio.max_second = 3: unknown key; did you mean audio.max_seconds?"),
        ("learning_rate: 3", "learning_rate = 3: unknown key; did you mean training.learning_rate?"),
        ("audio: {epochs: 3}", "audio.epochs = 3: unknown key; did you mean training.epochs?"),
        ("zzz: 3", "zzz = 3: unknown key"),
        (
            "balance: {method: none, beta: 0.5}",
            "balance.beta = 0.5: unknown key of balance.method=none; it belongs to balance.method=weighted_loss or "
            "balance.method=focal or balance.method=ldam",
        ),
        ("training: {batch_size: 16.0}", "training.batch_size = 16.0: must be a valid integer"),
        ("training: {batch_size: '16'}", "training.batch_size = '16': must be a valid integer"),
        ("training: {batch_size: true}", "training.batch_size = True: must be a valid integer"),
        ("training: {epochs: true}", "training.epochs = True: must be a valid number"),
        ("training: {epochs: 0}", "training.epochs = 0: must be greater than 0"),
        ("seed: -1", "seed = -1: must be greater than or equal to 0"),
        ("training: {learning_rate: .nan}", "training.learning_rate = nan: must be a finite number"),
        ("training: {weight_decay: .inf}", "training.weight_decay = inf: must be a finite number"),
        ("training: {weight_decay: 1e999}", "training.weight_decay = inf: must be a finite number"),
        ("experiment: 5", "experiment = 5: must be a valid string"),
        ("workspace: [a]", "workspace = ['a']: must be a path"),
        ("audio: {pad: mirror}", "audio.pad = 'mirror': must be 'zero', 'repeat' or 'repeat_pad'"),
        ("training:", "training = None: must be a section with keys of its own"),
        ("balance: none", "balance = 'none': must be a section with keys of its own"),
        ("balance: {beta: 0.5}", "balance.method is missing; it determines which other keys apply"),
        (
            "balance: {method: smoot}",
            f"balance.method = 'smoot': must be one of {METHODS}",
        ),
        (
            "balance: {method: null}",
            f"balance.method = None: must be one of {METHODS}",
        ),
        ("5: 3", "5 is not text, and a key must be text; put it in quotes"),
        ("model: {config: {5: 3}}", "model.config.5 is not text, and a key must be text; put it in quotes"),
    ],
)
def test_a_mistake_names_its_key_its_value_and_what_is_right(mistakes, text, line):
    assert mistakes(DATA + text + "\n") == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 3", "data is missing"),
        ("data: {source: table}", "data.path is missing"),
        ("data: {path: x}", "data.source is missing; it determines which other keys apply"),
        ("data: {source: disk}", "data.source = 'disk': must be one of 'folder', 'table', 'hub', 'sample', 'pool'"),
        (
            "data: {source: table, path: x, group_by: folder}",
            "data.group_by = 'folder': unknown key of data.source=table; it belongs to data.source=folder",
        ),
    ],
)
def test_a_mistake_in_the_data_is_named_without_the_inner_words_of_the_schema(mistakes, text, line):
    assert mistakes(text + "\n") == [line]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("{kind: gain, min_db: loud}", "augmentation.1.min_db = 'loud': must be a valid number"),
        (
            "{kind: gain, bits: 3, alpha: 1}",
            "augmentation.1.alpha = 1: unknown key of kind=gain; it belongs to kind=mixup or kind=cutmix",
        ),
        ("{kind: gain, min_bd: 3}", "augmentation.1.min_bd = 3: unknown key of kind=gain; did you mean min_db?"),
        ("{min_db: 3}", "augmentation.1.kind is missing; it determines which other keys apply"),
        ("{kind: gain, probability: 1.5}", "augmentation.1.probability = 1.5: must be less than or equal to 1"),
    ],
)
def test_a_mistake_in_a_list_is_named_with_its_place(mistakes, section, line):
    assert line in mistakes(DATA + f"augmentation: [{{kind: shift}}, {section}]\n")


def test_a_huge_value_is_shown_in_a_line(mistakes):
    (line,) = mistakes(DATA + f"experiment: {list(range(1000))}\n")
    assert line.startswith("experiment = [0, 1, ")
    assert len(line) < 200


def test_a_value_that_doubles_itself_by_anchors_is_shown_in_a_line(mistakes):
    doubled = "\n".join(f"a{i}: &a{i} [{f'*a{i - 1}, *a{i - 1}' if i else 'x'}]" for i in range(30))
    lines = mistakes(DATA + doubled + "\n")
    assert len(lines) == 30
    assert max(map(len, lines)) < 200


# What is wrong: everything at once


def test_every_mistake_is_told_at_once(mistakes):
    text = """
data: {source: table}
seed: true
trainig: {epochs: 3}
audio: {max_seconds: -1, learning_rate: 0.1}
split: {test_fraction: 0.6, validation_fraction: 0.6}
model: {family: wav2vec}
balance: {method: smoot}
"""
    lines = mistakes(text, "training.batch_size=big", "training.epochs", "experiment.name=x", "experiment=")
    families = ", ".join(map(repr, FAMILIES[:-1])) + f" or {FAMILIES[-1]!r}"
    expected = [
        "training.epochs is not an override; write key.path=value, e.g. training.epochs=3",
        f"model.family = 'wav2vec': must be {families}",
        "data.path is missing",
        "seed = True: must be a valid integer",
        "trainig = {'epochs': 3}: unknown key; did you mean training?",
        "audio.max_seconds = -1: must be greater than 0",
        "audio.learning_rate = 0.1: unknown key; did you mean training.learning_rate?",
        "split.test_fraction = 0.6 and split.validation_fraction = 0.6 leave no clips to train on; "
        "their sum must be below 1",
        f"balance.method = 'smoot': must be one of {METHODS}",
        "training.batch_size = 'big': must be a valid integer (given as an override)",
        "experiment = None: must be a valid string (given as an override)",
    ]
    assert sorted(lines) == sorted(expected)


@pytest.mark.parametrize("data", ["", "data: 3\n", "data: {source: disk}\n", "data: {source: table}\n"])
def test_an_impossible_combination_is_told_even_where_the_data_are_wrong(mistakes, data):
    lines = mistakes(data + "split: {test_fraction: 0.6, validation_fraction: 0.4}\n")
    assert len(lines) == 2
    assert lines[1].startswith("split.test_fraction = 0.6 and split.validation_fraction = 0.4 leave no clips")


# Overrides


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("training.epochs=3", lambda p: p.training.epochs, 3),
        (" training.epochs = 3 ", lambda p: p.training.epochs, 3),
        ("training.max_steps=", lambda p: p.training.max_steps, None),
        ("training.max_steps=null", lambda p: p.training.max_steps, None),
        ("experiment='a = b'", lambda p: p.experiment, "a = b"),
        ("experiment=a=b", lambda p: p.experiment, "a=b"),
        ("data={source: sample, clips: 40}", lambda p: p.data, SampleData(source="sample", clips=40)),
        ("balance.method=undersample", lambda p: p.balance, Undersample(method="undersample")),
        ("data.path=elsewhere", lambda p: p.data.path, Path("elsewhere")),
    ],
)
def test_an_override_sets_one_key(load, override, read, value):
    assert read(load(DATA, override)) == value


def test_an_override_may_be_a_mapping_for_the_models_config(load):
    params = load(DATA + "model: {family: wav2vec2}\n", "model.config={hidden_size: 96, num_hidden_layers: 2}")
    assert params.model.config == {"hidden_size": 96, "num_hidden_layers": 2}


def test_an_override_reaches_into_a_section_that_is_missing_or_empty(load):
    assert load(DATA, "training.epochs=3").training.epochs == 3
    assert load(DATA + "training:\n", "training.epochs=3").training.epochs == 3
    assert load(DATA + "model: {family: wav2vec2, config: }\n", "model.config.hidden_size=96").model.config == {
        "hidden_size": 96
    }


def test_the_last_of_two_overrides_of_a_key_counts(load):
    assert load(DATA, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.epochs", "training.epochs is not an override; write key.path=value, e.g. training.epochs=3"),
        ("=3", "=3 is not an override; write key.path=value, e.g. training.epochs=3"),
        ("training..epochs=3", "training..epochs=3 is not an override; write key.path=value, e.g. training.epochs=3"),
        (
            "training.epochs=[1",
            "training.epochs = [1: not valid YAML: line 1, column 3: while parsing a flow sequence "
            "expected ',' or ']', but got '<stream end>' (given as an override)",
        ),
        (
            "model.config={a: 1, a: 2}",
            "model.config = {a: 1, a: 2}: not valid YAML: line 1, column 8: the key 'a' is given twice "
            "(given as an override)",
        ),
        ("experiment.name=3", "experiment.name = 3: experiment is 'e' (a str) and has no keys"),
        ("seed.x=3", "seed = {'x': 3}: must be a valid integer (given as an override)"),
        ("trainingepochs=5", "trainingepochs = 5: unknown key; did you mean training.epochs? (given as an override)"),
        ("training.epochs=-1", "training.epochs = -1: must be greater than 0 (given as an override)"),
        (
            "data.source=disk",
            "data.source = 'disk': must be one of 'folder', 'table', 'hub', 'sample', 'pool' (given as an override)",
        ),
    ],
)
def test_a_bad_override_is_named(mistakes, override, line):
    (found,) = mistakes(DATA + "experiment: e\n", override)
    assert found.startswith(line)
    assert found.endswith(")") or "key.path=value" in found


def test_a_mistake_of_the_file_is_not_blamed_on_an_override(mistakes):
    assert mistakes(DATA + "seed: -1\n", "training.epochs=3") == ["seed = -1: must be greater than or equal to 0"]


# Files that are no params


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a params file must be a mapping of keys to values, and this one is empty."),
        (b"# only a comment\n", "a params file must be a mapping of keys to values, and this one is empty."),
        (b"[1, 2]", "a params file must be a mapping of keys to values, and this one is [1, 2] (a list)."),
        (b"text", "a params file must be a mapping of keys to values, and this one is 'text' (a str)."),
        (b"seed: 1\nseed: 2\n", "not valid YAML: line 2, column 1: the key 'seed' is given twice."),
        (b"data: {path: a, path: b}", "not valid YAML: line 1, column 17: the key 'path' is given twice."),
        (b"? [a]\n: 1\n", "not valid YAML: line 1, column 3: the key ['a'] is not text."),
        (b"a: b: c", "not valid YAML: line 1, column 5: mapping values are not allowed here."),
        (b"a: 1\n---\nb: 1\n", "not valid YAML: line 2, column 1: expected a single document in the stream"),
        (b"a: !!python/object:os.system x", "not valid YAML: line 1, column 4: could not determine a constructor"),
        (b"experiment: caf\xe9\n", "line 1 is not UTF-8 (byte 0xe9 at column 16, 'é' in Windows-1252); save the file"),
        (b"a: \x00", "line 1 is not text (a zero byte at column 4)"),
        (b"\xff\xfea\x00:", "line 1 is not valid UTF-16"),
        (b"experiment: 2026-13-45", "a value cannot be read: month must be in 1..12."),
        (b"seed: " + b"1" * 5000, "a value cannot be read: "),
        (b"[" * 1200, "not valid YAML: it is nested too deeply."),
    ],
)
def test_a_file_that_is_no_params_is_told_in_a_line(tmp_path, content, message):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        load_params(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)
    assert "unicode string" not in str(caught.value) or b"\x00" in content


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encodings_that_editors_save(tmp_path, encoding):
    file = tmp_path / "run.yaml"
    file.write_text("experiment: café\n" + DATA, encoding=encoding)
    assert load_params(file).experiment == "café"


def test_counts_of_classes_are_named_in_composed_letters(tmp_path):
    file = tmp_path / "run.yaml"
    for names, told in (
        (["cafe\u0301"], None),
        (["cafe\u0301", "caf\u00e9"], "balance.counts .*names one class twice"),
    ):
        counts = ", ".join(f"{name}: 7" for name in names)
        file.write_text(f"{DATA}balance: {{method: oversample, counts: {{{counts}}}}}\n", encoding="utf-8")
        if told is None:
            assert load_params(file).balance.counts == {"caf\u00e9": 7}
        else:
            with pytest.raises(ParamsError, match=told):
                load_params(file)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"none\.yaml: the params file cannot be read: No such file or directory"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match="the params file cannot be read: Is a directory"):
        load_params(tmp_path)


@settings(deadline=None, max_examples=120)
@given(text=st.text(alphabet="ab:{}[]&*!?-|>'\"<=#%@, \n\t015.e~\x00\ud7ff", max_size=30), override=st.booleans())
def test_any_text_at_all_is_params_or_a_params_error(file, text, override):
    file.write_text(DATA if override else text, encoding="utf-8")
    with contextlib.suppress(ParamsError):
        assert isinstance(load_params(file, [f"data.path={text}"] if override else []), RunParams)


# There and back


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    str.strip
)
positive = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
data = st.one_of(
    st.builds(FolderData, source=st.just("folder"), path=words.map(Path), group_by=st.sampled_from(["file", "folder"])),
    st.builds(
        HubData,
        source=st.just("hub"),
        name=words,
        config=words | st.none(),
        splits=st.none() | st.fixed_dictionaries({"train": words}, optional={"test": words}),
    ),
    st.builds(TableData, source=st.just("table"), path=words.map(Path), label_column=words, group_column=words),
    st.builds(SampleData, source=st.just("sample"), clips=st.integers(30, 1_000_000)),
)


@settings(deadline=None, max_examples=60)
@given(
    data=data,
    experiment=st.one_of(
        words, st.sampled_from(["5e-5", "null", "yes", "1_000", "0x1", "1:30", "2026-01-01", " a ", "~"])
    ),
    seed=st.integers(0, 2**32 - 1),
    learning_rate=positive,
    beta=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_params_come_back_from_their_dump(file, data, experiment, seed, learning_rate, beta):
    weighted = WeightedLoss(method="weighted_loss", weighting="effective_number", beta=beta)
    params = RunParams(data=data, experiment=experiment, seed=seed, balance=weighted)
    training = params.training.model_copy(update={"learning_rate": learning_rate})
    params = params.model_copy(update={"training": training})
    file.write_text(dump_params(params), encoding="utf-8")
    assert load_params(file) == params


def test_a_dump_says_every_default(load):
    params = load(DATA)
    assert isinstance(params.balance, NoBalance)
    assert set(yaml.safe_load(dump_params(params))) == set(RunParams.model_fields)
    assert load(dump_params(params)) == params


# The schema


def test_the_schema_names_every_top_level_key_and_describes_every_field():
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == set(RunParams.model_fields)
    sections = [part for part in schema["$defs"].values() if "properties" in part]
    assert len(sections) >= 12
    for section in sections:
        undescribed = [n for n, f in section["properties"].items() if "description" not in f and "const" not in f]
        assert undescribed == []


def test_an_editor_with_the_schema_accepts_what_loads_and_refuses_what_does_not(load):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json_schema())
    resolved = yaml.safe_load(dump_params(load(DATA)))
    jsonschema.validate(resolved, schema)
    for wrong in ({"sed": 1}, {"seed": "one"}, {"balance": {"method": "smoot"}}, {"training": {"epochs": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(resolved | wrong, schema)


def test_the_module_prints_the_schema_for_editors():
    printed = subprocess.run([sys.executable, "-m", "audiocls.params.run"], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == json.loads(json_schema())
    assert printed.stderr == ""


def test_no_default_is_out_of_its_own_bounds():
    defaults = RunParams(data=SampleData(source="sample"))
    assert RunParams.model_validate(json.loads(defaults.model_dump_json())) == defaults
    assert math.isfinite(defaults.training.learning_rate)


# What a folder's pattern and globs must be


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "pattern: '(?P<label>['",
            "data.pattern = '(?P<label>[': is not a regular expression: unterminated character set",
        ),
        ("pattern: '(.*)/.*'", "data.pattern = '(.*)/.*': must have a group (?P<label>...)"),
        (
            "pattern: '(?P<label>.)(?P<speaker>.)'",
            "data.pattern = '(?P<label>.)(?P<speaker>.)': can only have the groups label and group, not speaker",
        ),
        ("include: ['a**b']", "data.include = ['a**b']: 'a**b' is not a glob: "),
        ("exclude: '*.wav'", "data.exclude = '*.wav': "),
    ],
)
def test_a_pattern_or_glob_that_cannot_work_is_told_with_the_other_mistakes(mistakes, line, message):
    lines = mistakes(f"data:\n  source: folder\n  path: a\n  {line}\nseed: -1\nsplit: {{test_fraction: 0.9}}\n")
    assert {text.split(" ")[0] for text in lines} == {message.split(" ")[0], "seed", "split.test_fraction"}
    assert any(text.startswith(message) for text in lines)


def test_a_hub_data_set_takes_only_our_splits_and_needs_one_to_train_on(load, mistakes):
    data = "data: {{source: hub, name: someone/something, splits: {splits}}}\n"
    assert load(data.format(splits="{train: train, test: exam}")).data.splits == {"train": "train", "test": "exam"}
    assert mistakes(data.format(splits="{test: test}")) == [
        "data.splits = {'test': 'test'}: must name a split for train"
    ]
    assert mistakes(data.format(splits="{train: train, dev: dev}")) == [
        "data.splits.dev = 'dev': must be 'train', 'validation' or 'test'"
    ]


def test_overrides_of_resolved_params_leave_what_was_not_set_to_the_defaults():
    run = RunParams.model_validate({"data": {"source": "sample"}, "training": {"epochs": 3.0}})
    changed = override_params(run, ["audio.chunk={seconds: 2.0, hop: 1.0}", "training.weight_decay=0.1"])
    assert changed.audio.max_seconds == 2.0  # as a chunk sets it: 10 s, the default, would be a conflict
    assert changed.training.epochs == 3.0
    assert changed.training.weight_decay == 0.1
    assert run.training.weight_decay == 0.01


def test_overrides_of_resolved_params_are_checked_as_those_of_a_file():
    run = RunParams.model_validate({"data": {"source": "sample"}, "balance": {"method": "focal"}})
    with pytest.raises(ParamsError, match=r"(?s)2 mistakes.*training\.epoch .*training\.label_smoothing"):
        override_params(run, ["training.epoch=3", "training.label_smoothing=0.1"])
