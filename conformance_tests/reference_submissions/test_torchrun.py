"""The submissions that are more than one gradient and one rule, in several processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance_tests.distributed.runs import POINT, Runs, differences
from conformance_tests.reference_submissions.training import ROOT

# As for NadamW (conformance_tests/distributed): the same sums in another order.
TOLERANCES = {"parameters": 5e-4, "loss": 1e-5, "metrics": 2e-3}
MANY = {"pytorch": {"processes": 2}, "jax": {"devices": 2}}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("references"))


@pytest.mark.slow
@pytest.mark.parametrize("framework", MANY)
@pytest.mark.parametrize(
    ("ruleset", "name"),
    [
        *(("external", name) for name in ("sam", "shampoo", "adafactor", "lamb")),
        *(("self", name) for name in ("schedule_free_adamw", "lawa", "line_search")),
    ],
)
def test_a_submission_trains_on_two_as_on_one(
    ruleset: str, name: str, framework: str, runs: Runs, tmp_path: Path
) -> None:
    flags = ["--clock=steps", "--rng_seed=3", f"--tuning_ruleset={ruleset}"]
    if ruleset == "external":
        space = tmp_path / "points.json"
        point = {**POINT, "dropout_rate": 0.0, "preconditioner_interval": 3}
        space.write_text(json.dumps([point]))
        flags.append(f"--tuning_search_space={space}")
    options = {"submission": ROOT / f"{ruleset}_tuning" / name, "flags": tuple(flags)}
    one = runs(f"{name}_{framework}_one", framework, **options)
    two = runs(f"{name}_{framework}_two", framework, **options, **MANY[framework])
    assert (one.code, two.code) == (0, 0), two.output
    found = differences(one, two)
    for kind, tolerance in TOLERANCES.items():
        assert found[kind] <= tolerance, (kind, found)
