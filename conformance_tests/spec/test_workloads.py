"""The workload table against the constants of the official implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spec import workloads
from spec.clauses import VERSIONS, UnknownVersion
from spec.workloads import Direction, UnknownWorkload, WorkloadSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "constants.json"
CONSTANTS: dict[str, dict[str, dict[str, Any]]] = json.loads(GOLDEN.read_text())

# In the golden constants, but development aids rather than workloads of the benchmark.
DEVELOPMENT = {"mnist", "cifar", "criteo1tb_test"}

TABLE = (
    "validation_target_value",
    "test_target_value",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
    "step_hint",
    "num_train_examples",
    "num_eval_train_examples",
    "num_validation_examples",
    "num_test_examples",
    "eval_batch_size",
    "target_metric_name",
    "loss_type",
    "train_mean",
    "train_stddev",
)

# Where the project decided against an official value: (framework, property) -> official value.
CRITEO_PYTORCH = {
    ("pytorch", "eval_batch_size"): 8_192,
    ("pytorch", "num_eval_train_examples"): 83_279_872,
}
RESNET_PYTORCH = {("pytorch", "dropout_rate"): 0.0}
DECIDED: dict[str, dict[tuple[str, str], Any]] = {
    "criteo1tb": CRITEO_PYTORCH,
    "criteo1tb_layernorm": CRITEO_PYTORCH,
    "criteo1tb_resnet": CRITEO_PYTORCH,
    "criteo1tb_embed_init": CRITEO_PYTORCH,
    "imagenet_resnet": RESNET_PYTORCH,
    "imagenet_resnet_silu": RESNET_PYTORCH,
    "imagenet_resnet_gelu": RESNET_PYTORCH,
    "imagenet_resnet_large_bn_init": RESNET_PYTORCH,
    "wmt_attention_temp": {("pytorch", "test_target_value"): 229.4143},
}


def official(name: str, framework: str) -> dict[str, Any]:
    constants = CONSTANTS[name][framework]
    undefined = dict.fromkeys(constants["_not_implemented_properties"])
    values = {key: constants.get(key, undefined.get(key)) for key in TABLE}
    values["dropout_rate"] = constants["_model_fn_defaults"]["dropout_rate"]
    config = {
        key.lstrip("_"): tuple(value) if isinstance(value, list) else value
        for key, value in constants.items()
        if key not in TABLE and key not in ("_not_implemented_properties", "_model_fn_defaults")
    }
    return {**values, "model_config": config}


def ours(name: str) -> dict[str, Any]:
    spec = workloads.get(name)
    values = {key: getattr(spec, key) for key in (*TABLE, "dropout_rate")}
    return {
        **values,
        "loss_type": spec.loss_type.name,
        "model_config": dict(spec.model_config),
    }


def same(left: Any, right: Any) -> bool:
    """Equality up to the last bits: some official constants are computed, as 1 - 0.3481."""
    if isinstance(left, float | list | tuple) and isinstance(right, float | list | tuple):
        return bool(left == pytest.approx(right, rel=1e-12))
    return bool(left == right and type(left) is type(right))


def test_the_golden_constants_cover_exactly_the_table_and_three_development_workloads() -> None:
    assert set(CONSTANTS) == set(workloads.names()) | DEVELOPMENT


@pytest.mark.clause("WORK-1", "WORK-4", "WORK-5", "WORK-6", "WORK-11", "DROP-4")
@pytest.mark.parametrize("name", workloads.names())
def test_every_constant_is_the_official_one_but_for_the_decided_differences(name: str) -> None:
    differences = {
        (framework, key): value
        for framework in ("jax", "pytorch")
        for key, value in official(name, framework).items()
        if not same(ours(name)[key], value)
    }
    assert differences == DECIDED.get(name, {})


# Scoring semantics, section 1: v0.5 budget, v0.6 budget, v0.5 step hint, v0.6 step hint.
BUDGETS = {
    "criteo1tb": (7703, 7703, 10666, 10666),
    "fastmri": (8859, 4430, 36189, 18094),
    "imagenet_resnet": (63008, 66159, 186666, 195999),
    "imagenet_vit": (77520, 69768, 186666, 167999),
    "librispeech_conformer": (61068, 58015, 80000, 76000),
    "librispeech_deepspeech": (55506, 44405, 48000, 38400),
    "ogbg": (18477, 12011, 80000, 52000),
    "wmt": (48151, 43336, 133333, 120000),
}


@pytest.mark.clause("WORK-2", "WORK-11")
@pytest.mark.parametrize("name", workloads.names())
def test_budgets_and_step_hints_are_those_of_the_version(name: str) -> None:
    old_budget, budget, old_hint, hint = BUDGETS[workloads.base_name(name)]
    for version, expected in {
        "paper2023": (old_budget, old_hint),
        "v0.5": (old_budget, old_hint),
        "v0.6": (budget, hint),
    }.items():
        spec = workloads.get(name, version)
        assert (spec.max_allowed_runtime_sec, spec.step_hint) == expected


@pytest.mark.clause("WORK-2")
@pytest.mark.parametrize("name", workloads.names())
def test_versions_differ_in_budget_and_step_hint_only(name: str) -> None:
    changing = {"max_allowed_runtime_sec", "step_hint"}
    rows = [vars(workloads.get(name, version)) for version in VERSIONS]
    for row in rows:
        for key, value in row.items():
            assert key in changing or value == rows[0][key]


@pytest.mark.clause("WORK-3")
@pytest.mark.parametrize(
    ("name", "validation_error", "test_error"),
    [("imagenet_resnet", 0.22569, 0.3440), ("imagenet_vit", 0.22691, 0.3481)],
)
def test_image_targets_are_one_minus_the_error_rates_of_the_rules(
    name: str, validation_error: float, test_error: float
) -> None:
    spec = workloads.get(name)
    assert spec.validation_target_value == pytest.approx(1 - validation_error, abs=1e-12)
    assert spec.test_target_value == pytest.approx(1 - test_error, abs=1e-12)
    assert spec.target_metric_name == "accuracy"


@pytest.mark.clause("WORK-8")
@pytest.mark.parametrize("name", workloads.names())
def test_losses_and_error_rates_are_minimised_and_scores_maximised(name: str) -> None:
    spec = workloads.get(name)
    minimised = spec.target_metric_name in ("loss", "wer")
    assert spec.direction is (Direction.MINIMIZE if minimised else Direction.MAXIMIZE)


@pytest.mark.clause("WORK-10")
def test_evaluated_training_examples_fill_whole_batches_except_for_ogbg() -> None:
    for name in workloads.names():
        spec = workloads.get(name)
        if spec.base_name == "ogbg":
            assert spec.num_eval_train_examples == spec.num_validation_examples
        else:
            assert spec.num_eval_train_examples == workloads.num_eval_train_examples(
                spec.num_validation_examples, spec.eval_batch_size
            )
    assert workloads.num_eval_train_examples(83_274_637, 131_072) == 636 * 131_072


@pytest.mark.clause("WORK-9")
def test_the_simulated_clock_reaches_the_step_hint_at_the_end_of_the_budget() -> None:
    spec = workloads.get("ogbg")
    assert spec.step_seconds == 12_011 / 52_000
    assert spec.batch_size_divisor == 1


@pytest.mark.clause("WORK-1", "WORK-5")
def test_there_are_eight_base_workloads_with_three_variants_each() -> None:
    bases = workloads.names("base")
    variants = workloads.names("variant")
    assert len(bases) == 8
    assert workloads.names() == workloads.names("all") == bases + variants
    owners = [workloads.get(variant).base_name for variant in variants]
    assert {base: owners.count(base) for base in bases} == dict.fromkeys(bases, 3)
    with pytest.raises(ValueError, match="must be one of base, variant, all"):
        workloads.names("variants")


@pytest.mark.clause("WORK-7")
@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("criteo1tb_layernorm", "criteo1tb"),
        ("librispeech_deepspeech_no_resnet", "librispeech_deepspeech"),
        ("imagenet_resnet_silu", "imagenet_resnet"),
        ("mnist", "mnist"),
        ("", ""),
    ],
)
def test_the_base_name_is_the_base_workload_contained_in_the_name(name: str, base: str) -> None:
    assert workloads.base_name(name) == base


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("obgb", ("ogbg",)),
        ("imagenet_vti", ("imagenet_vit",)),
        ("ogbg_gleu", ("ogbg_gelu",)),
        ("resnet", ("criteo1tb_resnet", "imagenet_resnet")),
        ("OGBG", ("ogbg",)),
    ],
)
def test_an_unknown_workload_is_an_error_that_names_near_ones(
    name: str, near: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownWorkload, match=f"unknown workload '{name}'; did you mean") as error:
        workloads.get(name)
    assert set(near) <= set(error.value.near)


def test_at_most_three_near_names_are_named_nearest_first() -> None:
    near = UnknownWorkload("ogbg", ["ogbg_a", "ogbg_bc", "ogbg_def", "ogbg_ghij"]).near
    assert near == ("ogbg_a", "ogbg_bc", "ogbg_def")


def test_a_name_with_nothing_near_lists_all_and_an_unknown_version_is_an_error() -> None:
    with pytest.raises(UnknownWorkload, match="known: criteo1tb, fastmri"):
        workloads.get("zzz")
    with pytest.raises(UnknownVersion):
        workloads.get("ogbg", "v0.7")


def test_rows_are_hashable_constants() -> None:
    rows = {workloads.get(name) for name in workloads.names()}
    assert len(rows) == 32
    assert workloads.get("ogbg") is workloads.get("ogbg")
    with pytest.raises(TypeError):
        workloads.get("ogbg").model_config["latent_dim"] = 3  # type: ignore[index]
    assert isinstance(rows.pop(), WorkloadSpec)
