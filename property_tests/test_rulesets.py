"""Laws of budgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import rulesets
from spec.clauses import VERSIONS, UnknownVersion
from spec.rulesets import Tuning

versions = st.sampled_from(VERSIONS)
tunings = st.sampled_from(Tuning)
seconds = st.floats(0, 1e6)


@pytest.mark.clause("RULE-1")
@given(versions, tunings, seconds, seconds)
def test_a_longer_maximum_runtime_never_shortens_a_budget(
    version: str, tuning: Tuning, left: float, right: float
) -> None:
    ruleset = rulesets.get(version)
    shorter, longer = sorted((left, right))
    assert ruleset.budget_seconds(shorter, tuning) <= ruleset.budget_seconds(longer, tuning)


@pytest.mark.clause("RULE-1")
@given(versions, tunings, st.integers(0, 10**6), st.integers(1, 1000))
def test_budgets_scale_with_the_maximum_runtime(
    version: str, tuning: Tuning, runtime: int, factor: int
) -> None:
    budget = rulesets.get(version).budget_seconds
    assert budget(factor * runtime, tuning) == factor * budget(runtime, tuning)


@pytest.mark.clause("RULE-1")
@given(versions, seconds)
def test_self_tuning_never_has_less_time_than_an_external_trial(
    version: str, runtime: float
) -> None:
    budget = rulesets.get(version).budget_seconds
    assert budget(runtime, Tuning.EXTERNAL) == runtime <= budget(runtime, Tuning.SELF)
    assert budget(runtime, "self") == budget(runtime, Tuning.SELF)


@given(st.text())
def test_a_version_is_known_or_an_error(version: str) -> None:
    if version in VERSIONS:
        assert rulesets.get(version).version == version
    else:
        with pytest.raises(UnknownVersion):
            rulesets.get(version)
