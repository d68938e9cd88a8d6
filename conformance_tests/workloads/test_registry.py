"""Workloads by name, one framework at a time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from algoperf_ref import workloads
from algoperf_ref.errors import UserError
from conformance_tests.workloads.samples import FRAMEWORKS, OGBG, backend
from spec import tiers

_PROGRAM = """
import sys
from algoperf_ref import workloads
from spec.submission import ForwardPassMode

FRAMEWORKS = {"jax", "flax", "torch"}
assert "ogbg" in workloads.names("mini")
assert not FRAMEWORKS & set(sys.modules), "names() imported a framework"
workload = workloads.load("ogbg", sys.argv[1], "mini")
key = workload.backend.seed_key(0)

from conformance_tests.workloads import samples
batch = workload.backend.place_batch(samples.batch(2))

def loss(key):
    params, state = workload.init_model_fn(key)
    logits, _ = workload.model_fn(params, batch, state, ForwardPassMode.TRAIN, key, True)
    workload.output_activation_fn(logits, sys.argv[1])
    return workload.loss_fn(batch["targets"], logits, batch["weights"])["summed"]

sys.modules["jax"].eval_shape(loss, key) if sys.argv[1] == "jax" else loss(key).backward()
print(*sorted(FRAMEWORKS & set(sys.modules)))
"""


@pytest.mark.parametrize("tier", ["full", "mini"])
def test_all_variants_of_a_workload_can_be_loaded(tier: str) -> None:
    assert set(OGBG) <= set(workloads.names(tier))
    assert set(workloads.names(tier)) <= set(tiers.names(tier))


@pytest.mark.clause("WORK-12")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", OGBG)
@pytest.mark.parametrize("tier", ["full", "mini"])
def test_a_workload_is_its_row_of_the_specification(name: str, framework: str, tier: str) -> None:
    workload = workloads.load(name, framework, tier, backend=backend(framework))
    assert workload.spec == tiers.get(name, tier)
    assert (workload.name, workload.base_name, workload.framework) == (name, "ogbg", framework)
    assert workload.tier.value == tier


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("name", "tier"), [("mnist", "full"), ("mnist", "mini"), ("cifar", "full")]
)
def test_development_workloads_are_loaded_by_name_and_not_listed(
    name: str, tier: str, framework: str
) -> None:
    workload = workloads.load(name, framework, tier, backend=backend(framework))
    assert workload.spec == tiers.get(name, tier)
    assert (workload.name, workload.framework, workload.tier.value) == (name, framework, tier)
    assert name in workloads.development_names(tier)
    assert name not in workloads.names(tier)


def test_development_names_of_an_unknown_tier_are_an_error() -> None:
    with pytest.raises(UserError, match="unknown tier 'midi'"):
        workloads.development_names("midi")


def test_an_older_version_has_its_own_budget() -> None:
    workload = workloads.load("ogbg", "pytorch", version="v0.5", backend=backend("pytorch"))
    assert (
        workload.max_allowed_runtime_sec
        == tiers.get("ogbg", "full", "v0.5").max_allowed_runtime_sec
    )
    assert workload.max_allowed_runtime_sec != tiers.get("ogbg").max_allowed_runtime_sec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "ogbg_gleu"}, "unknown full workload 'ogbg_gleu'; did you mean ogbg_gelu"),
        ({"name": "obgb", "tier": "mini"}, "unknown mini workload 'obgb'; did you mean ogbg"),
        ({"name": "mnits"}, "unknown full workload 'mnits'; did you mean mnist"),
        ({"name": "minst", "tier": "mini"}, "unknown mini workload 'minst'; did you mean mnist"),
        ({"name": "cifar", "tier": "mini"}, "cifar has no mini tier.*: choose the full one"),
        ({"name": "ogbg", "framework": "torch"}, "unknown framework 'torch'"),
        ({"name": "ogbg", "tier": "midi"}, "unknown tier 'midi': choose one of full, mini"),
        ({"name": "ogbg", "version": "v9"}, "v9"),
    ],
)
def test_wrong_arguments_get_one_clear_sentence(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        workloads.load(**arguments)


def test_a_backend_of_the_other_framework_is_refused() -> None:
    with pytest.raises(UserError, match="the backend is of 'pytorch', the framework is 'jax'"):
        workloads.load("ogbg", "jax", backend=backend("pytorch"))


@pytest.mark.parametrize(("framework", "imported"), [("jax", "flax jax"), ("pytorch", "torch")])
def test_only_the_chosen_framework_is_imported(framework: str, imported: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, framework], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == imported.split()


def test_a_workload_is_hashed_by_identity() -> None:
    first, second = (
        workloads.load("ogbg", "pytorch", "mini", backend=backend("pytorch")) for _ in range(2)
    )
    assert first != second
    assert len({first: 1, second: 2}) == 2
    before = hash(first)
    first.init_model_fn(np.array([0, 1], np.int32))
    assert hash(first) == before
