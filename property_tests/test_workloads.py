"""Laws of the workload table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import tiers, workloads
from spec.clauses import VERSIONS
from spec.workloads import UnknownWorkload

names = st.sampled_from(workloads.names())
versions = st.sampled_from(VERSIONS)


@pytest.mark.clause("WORK-10")
@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_evaluated_training_examples_are_the_least_whole_batches_that_cover_validation(
    num_validation: int, batch: int
) -> None:
    covered = workloads.num_eval_train_examples(num_validation, batch)
    assert covered % batch == 0
    assert covered - batch < num_validation <= covered
    assert workloads.num_eval_train_examples(covered, batch) == covered


@pytest.mark.clause("WORK-11")
@given(st.sampled_from(workloads.names("variant")), versions)
def test_a_variant_is_its_base_with_targets_and_overrides(name: str, version: str) -> None:
    variant, base = (vars(workloads.get(n, version)) for n in (name, workloads.base_name(name)))
    own = {"name", "validation_target_value", "test_target_value", "model_config"}
    own |= {"model_overrides", "eval_batch_size"}
    assert {k: v for k, v in variant.items() if k not in own} == {
        k: v for k, v in base.items() if k not in own
    }
    assert variant["model_config"] == {**base["model_config"], **variant["model_overrides"]}
    changed = {
        key for key, value in variant["model_config"].items() if value != base["model_config"][key]
    }
    assert changed == set(variant["model_overrides"]) != set()


@pytest.mark.clause("WORK-7")
@given(st.text(max_size=8), names, st.text(max_size=8))
def test_a_base_name_is_contained_in_the_name_and_is_its_own_base_name(
    before: str, name: str, after: str
) -> None:
    base = workloads.base_name(before + name + after)
    assert base in before + name + after
    assert workloads.base_name(base) == base
    assert workloads.base_name(name) in workloads.names("base")


@given(names, versions, st.sampled_from(tiers.Tier))
def test_a_row_has_the_name_it_was_asked_for_and_is_always_the_same(
    name: str, version: str, tier: tiers.Tier
) -> None:
    if name not in tiers.names(tier):
        with pytest.raises(UnknownWorkload):
            tiers.get(name, tier, version)
        return
    row = tiers.get(name, tier, version)
    assert row is tiers.get(name, tier.value, version)
    assert row.name == name
    assert row.base_name == workloads.base_name(name)
    assert row.is_variant == (row.name != row.base_name)
    for count in (row.num_train_examples, row.num_validation_examples, row.num_test_examples):
        assert count > 0


@given(names, st.data())
def test_a_slip_of_one_letter_is_answered_with_the_right_name(
    name: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    slip = data.draw(
        st.sampled_from(
            [
                name[:place] + name[place + 1 :],
                name[:place] + "x" + name[place + 1 :],
                name[:place] + "x" + name[place:],
            ]
        )
    )
    if slip in workloads.names():
        return
    with pytest.raises(UnknownWorkload) as error:
        workloads.get(slip)
    # The shortest name, wmt, has near neighbours only where two letters are left in order.
    assert name in error.value.near or len(name) == 3


@given(st.text(max_size=20))
def test_any_other_name_is_an_unknown_workload(name: str) -> None:
    if name not in workloads.names():
        with pytest.raises(UnknownWorkload):
            workloads.get(name)


@pytest.mark.clause("WORK-9")
@given(names, versions)
def test_at_the_default_cost_the_step_hint_uses_up_the_budget(name: str, version: str) -> None:
    row = workloads.get(name, version)
    assert row.step_seconds * row.step_hint == pytest.approx(row.max_allowed_runtime_sec)
