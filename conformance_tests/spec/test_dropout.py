"""Default dropout rates and how they are overridden."""

from __future__ import annotations

import pytest

from spec import dropout, workloads
from spec.dropout import DropoutError, DropoutKind


@pytest.mark.clause("DROP-1")
@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("criteo1tb", 0.0),
        ("fastmri", 0.0),
        ("imagenet_resnet", None),
        ("imagenet_vit", 0.0),
        ("librispeech_conformer", 0.1),
        ("librispeech_deepspeech", 0.1),
        ("ogbg", 0.1),
        ("wmt", 0.1),
    ],
)
def test_defaults_are_those_of_the_rules_table(name: str, rate: float | None) -> None:
    assert dropout.default_rate(name) == rate
    assert workloads.get(name).dropout_rate == rate


@pytest.mark.clause("DROP-1")
def test_every_base_workload_has_defaults_and_variants_share_them() -> None:
    assert set(dropout.DEFAULTS) == set(workloads.names("base"))
    for name in workloads.names("variant"):
        assert dropout.default_rates(name) == dropout.default_rates(workloads.base_name(name))


@pytest.mark.clause("DROP-2")
def test_conformer_drops_out_in_three_places_only_whatever_the_rate() -> None:
    dropping = {
        DropoutKind.INPUT,
        DropoutKind.ATTENTION_RESIDUAL,
        DropoutKind.FEED_FORWARD_RESIDUAL,
    }
    for rate, expected in ((None, 0.1), (0.3, 0.3)):
        rates = dropout.rates("librispeech_conformer", rate)
        assert {kind for kind, value in rates.items() if value} == dropping
        assert {rates[kind] for kind in dropping} == {expected}


@pytest.mark.clause("DROP-3")
def test_the_transformer_drops_attention_weights_too() -> None:
    assert dropout.rates("wmt", 0.2) == {DropoutKind.MAIN: 0.2, DropoutKind.ATTENTION: 0.2}


@pytest.mark.clause("DROP-4")
def test_a_model_has_one_adjustable_default() -> None:
    for table in dropout.DEFAULTS.values():
        assert len({default.rate for default in table.values() if not default.fixed}) <= 1
    assert dropout.default_rate("imagenet_resnet_gelu") is None


@pytest.mark.clause("DROP-5")
def test_a_rate_replaces_the_default_of_that_call() -> None:
    assert dropout.rates("ogbg") == {DropoutKind.MAIN: 0.1}
    assert dropout.rates("ogbg", 0.0) == {DropoutKind.MAIN: 0.0}
    assert dropout.rates("imagenet_resnet", 0.5) == {}
    with pytest.raises(DropoutError, match=r"aux_dropout_rate does not exist in v0\.6"):
        dropout.rates("wmt", 0.1, 0.1)


@pytest.mark.clause("DROP-6")
@pytest.mark.parametrize("version", ["paper2023", "v0.5"])
def test_before_v0_6_there_was_an_auxiliary_rate(version: str) -> None:
    assert dropout.rates("wmt", 0.2, 0.3, version=version) == {
        DropoutKind.MAIN: 0.2,
        DropoutKind.ATTENTION: 0.3,
    }
    speech = dropout.rates("librispeech_deepspeech", 0.2, version=version)
    assert speech[DropoutKind.INPUT] == 0.1
    assert speech[DropoutKind.FEED_FORWARD] == 0.2


@pytest.mark.clause("DROP-5")
@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_rate_outside_its_range_is_an_error(rate: float) -> None:
    with pytest.raises(DropoutError, match="must be at least 0 and less than 1"):
        dropout.rates("ogbg", rate)
    with pytest.raises(DropoutError, match="aux_dropout_rate is"):
        dropout.rates("wmt", 0.1, rate, version="v0.5")


def test_an_unknown_workload_is_an_error() -> None:
    for function in (dropout.rates, dropout.default_rate, dropout.default_rates):
        with pytest.raises(DropoutError, match="no dropout defaults for workload 'mnist'"):
            function("mnist")


@pytest.mark.clause("DROP-6")
@pytest.mark.parametrize(
    ("name", "follow"),
    [
        ("librispeech_conformer", {DropoutKind.INPUT}),
        ("librispeech_deepspeech", {DropoutKind.INPUT}),
        ("wmt", {DropoutKind.ATTENTION}),
    ],
)
def test_what_follows_the_auxiliary_rate(name: str, follow: set[DropoutKind]) -> None:
    rates = dropout.rates(name, 0.25, aux_dropout_rate=0.5, version="v0.5")
    assert {kind for kind, rate in rates.items() if rate == 0.5} == follow
