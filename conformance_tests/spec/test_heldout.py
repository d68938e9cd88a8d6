"""Held-out workloads by example: what is drawn, and by which names."""

from __future__ import annotations

import pytest

from spec import heldout, rulesets, workloads
from spec.clauses import VERSIONS
from spec.rulesets import V0_5

DATASETS = ["Criteo 1TB", "fastMRI", "ImageNet", "LibriSpeech", "OGBG", "WMT"]
PAPER_OF_SEED_0 = (
    "criteo1tb_layernorm",
    "fastmri_tanh",
    "imagenet_resnet_silu",
    "imagenet_vit_post_ln",
    "librispeech_conformer_layernorm",
    "librispeech_deepspeech_norm_and_spec_aug",
    "ogbg_gelu",
    "wmt_glu_tanh",
)
V0_5_OF_SEED_0 = (
    "criteo1tb_layernorm",
    "fastmri_tanh",
    "imagenet_resnet_silu",
    "librispeech_deepspeech_tanh",
    "ogbg_silu",
    "wmt_attention_temp",
)


@pytest.mark.clause("HELD-1")
def test_every_base_workload_has_three_variants_that_belong_to_it() -> None:
    assert heldout.variants("wmt") == ("wmt_post_ln", "wmt_attention_temp", "wmt_glu_tanh")
    everything = [v for base in workloads.names("base") for v in heldout.variants(base)]
    assert sorted(everything) == sorted(workloads.names("variant"))
    assert {len(heldout.variants(base)) for base in workloads.names("base")} == {3}


@pytest.mark.clause("HELD-1")
@pytest.mark.parametrize("name", ["wmt_post_ln", "imagenet", ""])
def test_only_base_workloads_have_variants(name: str) -> None:
    with pytest.raises(workloads.UnknownWorkload, match="base workload"):
        heldout.variants(name)


@pytest.mark.clause("HELD-2")
def test_the_paper_draws_from_eight_pools_of_three() -> None:
    pools = heldout.pools("paper2023")
    assert list(pools) == list(workloads.names("base"))
    assert all(pools[base] == heldout.variants(base) for base in pools)


@pytest.mark.clause("HELD-2")
def test_v0_5_draws_from_one_pool_per_data_set() -> None:
    pools = heldout.pools("v0.5")
    assert list(pools) == DATASETS
    assert pools["ImageNet"] == (
        *heldout.variants("imagenet_resnet"),
        *heldout.variants("imagenet_vit"),
    )
    assert {dataset: len(pool) for dataset, pool in pools.items()} == {
        "Criteo 1TB": 3,
        "fastMRI": 3,
        "ImageNet": 6,
        "LibriSpeech": 6,
        "OGBG": 3,
        "WMT": 3,
    }


@pytest.mark.clause("HELD-2", "HELD-5")
def test_v0_6_draws_and_trains_no_held_out_workload() -> None:
    assert heldout.pools("v0.6") == {}
    assert heldout.draw("v0.6", 0) == ()
    assert heldout.held_out_workloads("v0.6") == ()
    assert heldout.trained_workloads("v0.6", ()) == workloads.names("base")


@pytest.mark.clause("HELD-3")
def test_the_draw_of_a_seed_never_changes() -> None:
    """Pinned: a published seed must give the same workloads with every version of numpy."""
    assert heldout.draw("paper2023", 0) == PAPER_OF_SEED_0
    assert heldout.draw("v0.5", 0) == V0_5_OF_SEED_0


@pytest.mark.clause("HELD-3")
@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None])
def test_a_seed_is_an_unsigned_integer_of_32_bits(seed: object) -> None:
    with pytest.raises(heldout.IllegalSeed, match=r"\[HELD-3\]"):
        heldout.draw("paper2023", seed)  # type: ignore[arg-type]


@pytest.mark.clause("HELD-3")
def test_the_largest_seed_is_legal() -> None:
    assert len(heldout.draw("paper2023", 2**32 - 1)) == 8


@pytest.mark.clause("HELD-4")
def test_v0_5_publishes_six_that_its_pools_can_give() -> None:
    published = heldout.held_out_workloads("v0.5")
    assert published == V0_5.held_out_workloads
    heldout.check_draw("v0.5", published)
    # Two base workloads were left without a partner: the other one of their data set was drawn.
    partners = {heldout.base_of(name) for name in published}
    assert set(workloads.names("base")) - partners == {"imagenet_vit", "librispeech_deepspeech"}


@pytest.mark.clause("HELD-4")
def test_the_paper_publishes_no_draw() -> None:
    with pytest.raises(heldout.NotDrawnYet, match="give a seed"):
        heldout.held_out_workloads("paper2023")
    assert heldout.held_out_workloads("paper2023", 7) == heldout.draw("paper2023", 7)


@pytest.mark.clause("HELD-4")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wmt_glu_tanh": None}, "for WMT, not 0"),
        ({"wmt_glu_tanh": "ogbg_gelu"}, r"for OGBG, not 2 \(ogbg_gelu, ogbg_model_size\)"),
        ({"imagenet_resnet_large_bn_init": "imagenet_vit_map"}, None),
    ],
)
def test_a_draw_has_exactly_one_of_every_pool(
    change: dict[str, str | None], message: str | None
) -> None:
    changed = [change.get(name, name) for name in V0_5.held_out_workloads]
    names = sorted(name for name in changed if name is not None)
    if message is None:
        heldout.check_draw("v0.5", names)
        return
    with pytest.raises(heldout.WrongDraw, match=message):
        heldout.check_draw("v0.5", names)


@pytest.mark.clause("HELD-4")
def test_a_version_without_held_out_workloads_takes_none() -> None:
    with pytest.raises(heldout.WrongDraw, match=r"v0\.6 has no held-out"):
        heldout.check_draw("v0.6", ["ogbg_gelu"])


@pytest.mark.clause("HELD-1")
@pytest.mark.parametrize("name", ["ogbg", "ogbg_relu"])
def test_a_base_workload_or_an_unknown_name_cannot_be_held_out(name: str) -> None:
    with pytest.raises(heldout.NotAVariant, match=name):
        heldout.check_draw("v0.5", [*V0_5.held_out_workloads, name])


@pytest.mark.clause("HELD-5")
@pytest.mark.parametrize(("version", "number"), [("paper2023", 16), ("v0.5", 14), ("v0.6", 8)])
def test_a_submission_is_trained_on_fixed_and_held_out_workloads(version: str, number: int) -> None:
    trained = heldout.trained_workloads(version, heldout.draw(version, 3))
    assert len(set(trained)) == number
    for name in trained:
        row = workloads.get(name, version)
        base = workloads.get(row.base_name, version)
        assert row.max_allowed_runtime_sec == base.max_allowed_runtime_sec
        assert row.eval_period_time_sec == base.eval_period_time_sec
        assert (row.target_metric_name, row.direction) == (base.target_metric_name, base.direction)


def test_every_version_is_known_to_this_module() -> None:
    assert {version: rulesets.get(version).held_out for version in VERSIONS}.keys() == {
        "paper2023",
        "v0.5",
        "v0.6",
    }
    for version in VERSIONS:
        heldout.check_draw(version, heldout.draw(version, 11))
