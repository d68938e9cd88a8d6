"""Laws of dropout rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import dropout, workloads
from spec.clauses import VERSIONS
from spec.dropout import DropoutError

names = st.sampled_from(workloads.names())
versions = st.sampled_from(VERSIONS)
rates = st.floats(0, 1, exclude_max=True)


@pytest.mark.clause("DROP-5")
@given(names, rates)
def test_one_rate_reaches_every_adjustable_layer_and_no_fixed_one(name: str, rate: float) -> None:
    table = dropout.DEFAULTS[workloads.base_name(name)]
    in_effect = dropout.rates(name, rate)
    assert in_effect == {
        kind: default.rate if default.fixed else rate for kind, default in table.items()
    }


@pytest.mark.clause("DROP-4", "DROP-5")
@given(names, versions)
def test_passing_the_default_is_the_same_as_passing_nothing(name: str, version: str) -> None:
    default = dropout.default_rate(name)
    auxiliary = None if version == "v0.6" else default
    defaults = dropout.default_rates(name)
    assert dropout.rates(name, version=version) == defaults
    assert dropout.rates(name, default, auxiliary, version=version) == defaults


@pytest.mark.clause("DROP-6")
@given(names, rates, rates, st.sampled_from(("paper2023", "v0.5")))
def test_before_v0_6_the_two_rates_act_independently(
    name: str, main: float, auxiliary: float, version: str
) -> None:
    both = dropout.rates(name, main, auxiliary, version=version)
    only_main = dropout.rates(name, main, version=version)
    only_auxiliary = dropout.rates(name, None, auxiliary, version=version)
    table = dropout.DEFAULTS[workloads.base_name(name)]
    for kind, default in table.items():
        assert both[kind] == (only_auxiliary if default.auxiliary else only_main)[kind]
        assert (only_main if default.auxiliary else only_auxiliary)[kind] == default.rate


@pytest.mark.clause("DROP-5")
@given(names, versions, st.floats(allow_nan=True).filter(lambda rate: not 0 <= rate < 1))
def test_a_rate_that_is_no_probability_below_one_is_an_error(
    name: str, version: str, rate: float
) -> None:
    with pytest.raises(DropoutError):
        dropout.rates(name, rate, version=version)


@pytest.mark.clause("DROP-1")
@given(names, versions, rates)
def test_no_argument_adds_a_dropout_layer(name: str, version: str, rate: float) -> None:
    assert dropout.rates(name, rate, version=version).keys() == dropout.default_rates(name).keys()
