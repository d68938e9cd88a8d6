"""The rows of mnist and cifar: official constants, and no part of the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance_tests.spec.test_workloads import CONSTANTS, TABLE
from spec import development, heldout, tiers, workloads
from spec.clauses import VERSIONS, UnknownVersion
from spec.tiers import Tier
from spec.workloads import Direction, UnknownWorkload

# Where ours is not the official value: the argument is there, and no model has dropout.
DECIDED = {"dropout_rate": 0.0}


def official(name: str, framework: str) -> dict[str, Any]:
    constants = dict(CONSTANTS[name][framework])
    del constants["_not_implemented_properties"]
    rate = constants.pop("_model_fn_defaults")["dropout_rate"]
    config = {key.lstrip("_"): constants.pop(key) for key in set(constants) - set(TABLE)}
    return {**constants, "dropout_rate": rate, "model_config": config}


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", ["mnist", "cifar"])
def test_every_constant_of_the_full_tier_is_the_official_one(name: str, framework: str) -> None:
    row = tiers.get(name)
    expected = official(name, framework)
    # One number per channel; the official mean of gray images is a plain number.
    for key in ("train_mean", "train_stddev"):
        assert getattr(row, key) == tuple(np.ravel(expected.pop(key)))
    assert {key: expected.pop(key) for key in DECIDED} == DECIDED
    assert row.dropout_rate is None
    assert row.loss_type.name == expected.pop("loss_type")
    assert dict(row.model_config) == expected.pop("model_config")
    assert {key: getattr(row, key) for key in expected} == expected
    assert (row.name, row.base_name, row.is_variant) == (name, name, False)
    assert row.direction is Direction.MAXIMIZE


def test_the_mini_tier_has_mnist_and_changes_sizes_and_targets_only() -> None:
    assert development.names(Tier.FULL.value) == ("mnist", "cifar")
    assert development.names(Tier.MINI.value) == ("mnist",)
    mini, full = vars(tiers.get("mnist", "mini")), vars(tiers.get("mnist"))
    assert {key: mini[key] for key in full if mini[key] != full[key]} == {
        "num_train_examples": 4_000,
        "num_validation_examples": 500,
        "num_test_examples": 500,
        "num_eval_train_examples": 512,
        "eval_batch_size": 512,
        "step_hint": 2_000,
        "eval_period_time_sec": 4,
        "validation_target_value": mini["validation_target_value"],
        "test_target_value": mini["test_target_value"],
    }
    row = tiers.get("mnist", "mini")
    assert row.num_eval_train_examples == workloads.num_eval_train_examples(
        row.num_validation_examples, row.eval_batch_size
    )
    assert row.max_allowed_runtime_sec / row.step_seconds >= row.step_hint
    assert row.eval_period_time_sec * 10 <= row.max_allowed_runtime_sec


def test_the_benchmark_does_not_know_them() -> None:
    for tier in Tier:
        assert not {"mnist", "cifar"} & set(tiers.names(tier))
    assert not {"mnist", "cifar"} & {*workloads.names(), *heldout.pools("v0.5")}
    with pytest.raises(UnknownWorkload):
        workloads.get("mnist")
    with pytest.raises(heldout.NotAVariant):
        heldout.base_of("mnist")


@pytest.mark.parametrize("name", ["mnist", "cifar"])
def test_they_are_the_same_in_all_versions(name: str) -> None:
    assert len({id(tiers.get(name, "full", version)) for version in VERSIONS}) == 1
    with pytest.raises(UnknownVersion):
        tiers.get(name, "full", "v9")
    with pytest.raises(ValueError, match="'tiny'"):
        tiers.get(name, "tiny")
    with pytest.raises(TypeError):
        tiers.get(name).model_config["num_classes"] = 3  # type: ignore[index]


@pytest.mark.clause("WORK-14")
@pytest.mark.parametrize(
    ("name", "tier", "message"),
    [
        ("cifar", "mini", "unknown mini-tier workload 'cifar'; known: criteo1tb, .*, mnist"),
        ("mnits", "full", "unknown workload 'mnits'; did you mean mnist"),
        ("minst", "mini", "unknown workload 'minst'; did you mean mnist"),
        ("cifra", "full", "unknown workload 'cifra'; did you mean cifar"),
    ],
)
def test_other_names_are_errors_that_list_near_ones(name: str, tier: str, message: str) -> None:
    with pytest.raises(UnknownWorkload, match=message):
        tiers.get(name, tier)
