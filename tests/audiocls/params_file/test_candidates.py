from __future__ import annotations

import pytest

from audiocls.comparison.methods import plan_trainings
from audiocls.errors import ParamsError
from audiocls.params.comparison import HEAD_METHODS, EndToEndMethod
from audiocls.params.run import RunParams
from audiocls.params_file.candidates import list_candidates, params_to_train
from audiocls.params_file.conflicts import find_conflicts

HEARD = {"kind": "gain", "min_db": -3.0, "max_db": 3.0}


def params(**sections):
    return RunParams.model_validate({"data": {"source": "sample"}} | sections)


SCRATCH = params(comparison={"end_to_end": list(EndToEndMethod.__args__)})
FROZEN = params(
    model={"family": "hubert", "pretrained": "somewhere", "freeze_layers": 1},
    augmentation=[HEARD],
    comparison={"methods": list(HEAD_METHODS)},
)


@pytest.mark.parametrize("asked", [SCRATCH, FROZEN], ids=["from scratch", "pretrained"])
def test_every_candidate_is_a_run_that_can_be_trained(asked):
    candidates = list_candidates(asked)
    assert len(candidates) > 10
    assert len({each.name for each in candidates}) == len(candidates)
    for candidate in candidates:
        assert find_conflicts(params_to_train(asked, candidate)) == []


def test_heads_from_scratch_are_those_of_decoupled_and_their_none_is_trained():
    candidates = {each.name: each for each in list_candidates(params())}
    assert candidates["decoupled, smote"].balance.resampling == "smote"
    assert not {"weighted_loss", "smote", "decoupled, smote_enn"} & set(candidates)
    assert [name for name, each in candidates.items() if each.end_to_end] == ["none"]


def test_a_comparison_is_of_the_last_layer():
    asked = params(model={"family": "hubert"}, balance={"method": "decoupled", "layer": 1})
    with pytest.raises(ParamsError, match=r"balance\.layer"):
        list_candidates(asked)


def test_how_a_head_is_trained_goes_for_all_heads():
    """Else they would differ by more than their method."""
    own = {"method": "decoupled", "resampling": "smote", "neighbours": 2, "penalty": 5.0, "no_border": "stop"}
    candidates = {each.name: each.balance for each in list_candidates(params(balance=own))}
    heads = [each for name, each in candidates.items() if name.startswith("decoupled")]
    assert len(heads) == 5
    assert {(each.neighbours, each.penalty, each.no_border) for each in heads} == {(2, 5.0, "stop")}
    assert candidates["class_thresholds"].method == "class_thresholds"


@pytest.mark.parametrize(
    ("resampling", "with_counts"),
    [
        ("smote", {"decoupled, oversample", "decoupled, smote", "decoupled, borderline_smote", "decoupled, adasyn"}),
        ("undersample", {"decoupled, undersample"}),
    ],
)
def test_counts_go_for_the_methods_that_can_meet_them(resampling, with_counts):
    own = {"method": "decoupled", "resampling": resampling, "counts": {"a": 9}}
    candidates = list_candidates(params(balance=own))
    assert {each.name for each in candidates if getattr(each.balance, "counts", None) == {"a": 9}} == with_counts


@pytest.mark.parametrize(
    ("asked", "trainings"),
    [
        (params(), {("none", 17)}),
        (FROZEN, {("encoder", 17)}),
        (
            params(comparison={"seeds": 2, "end_to_end": ["focal"]}),
            {(name, seed) for name in ("none", "focal, end to end") for seed in (17, 18)},
        ),
    ],
    ids=["one model for all heads", "what is there stays", "a model for each method and seed"],
)
def test_what_is_trained(asked, trainings, tmp_path):
    planned = plan_trainings(asked, tmp_path)
    assert {(each.candidate.name, each.seed) for each in planned} == trainings
    assert len({each.folder for each in planned}) == len(planned)


@pytest.mark.parametrize(
    ("sections", "key", "said"),
    [
        ({"comparison": {"methods": []}}, "methods", "nothing to compare"),
        ({"comparison": {"methods": ["smote", "smote"]}}, "methods", "smote is listed 2 times"),
        ({"comparison": {"methods": ["weighted_loss"]}}, "methods", "name it in comparison.end_to_end"),
        (
            {"comparison": {"end_to_end": ["ldam"]}, "training": {"label_smoothing": 0.1}},
            "end_to_end",
            "with ldam: training.label_smoothing = 0.1",
        ),
        (
            {"comparison": {"end_to_end": ["progressive"]}, "training": {"epochs": 1.0}},
            "end_to_end",
            "with progressive: balance.method = 'progressive': changes the class balance over the epochs",
        ),
    ],
)
def test_a_comparison_that_cannot_be_is_told(sections, key, said):
    ((where, message),) = find_conflicts(params(**sections))
    assert where == f"comparison.{key}"
    assert said in message
