"""The mini tier changes sizes and targets, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from spec import tiers, workloads
from spec.clauses import VERSIONS, UnknownVersion
from spec.tiers import Tier
from spec.workloads import UnknownWorkload

MINI = tiers.names("mini")

SPEECH = {
    "num_train_examples": 2_000,
    "num_validation_examples": 300,
    "num_test_examples": 300,
    "num_eval_train_examples": 300,
    "eval_batch_size": 104,
    "batch_size_divisor": 16,
    "step_hint": 500,
    "max_allowed_runtime_sec": 240,
    "eval_period_time_sec": 6,
    "simulated_step_seconds": 0.09,
}
SIZES = {
    "criteo1tb": {
        "num_train_examples": 286_776,
        "num_validation_examples": 25_000,
        "num_test_examples": 25_000,
        "num_eval_train_examples": 25_000,
        "eval_batch_size": 5_000,
        "batch_size_divisor": 1_024,
        "step_hint": 1_100,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 4,
        "simulated_step_seconds": 0.04,
    },
    "fastmri": {
        "num_train_examples": 456,
        "num_validation_examples": 88,
        "num_test_examples": 80,
        "num_eval_train_examples": 88,
        "eval_batch_size": 8,
        "batch_size_divisor": 4,
        "step_hint": 800,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 4,
        "simulated_step_seconds": 0.08,
    },
    "imagenet_resnet": {
        "num_train_examples": 4_000,
        "num_validation_examples": 500,
        "num_test_examples": 500,
        "num_eval_train_examples": 500,
        "eval_batch_size": 128,
        "batch_size_divisor": 32,
        "step_hint": 1_000,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 4,
        "simulated_step_seconds": 0.05,
    },
    "imagenet_vit": {
        "num_train_examples": 4_000,
        "num_validation_examples": 500,
        "num_test_examples": 500,
        "num_eval_train_examples": 500,
        "eval_batch_size": 128,
        "batch_size_divisor": 32,
        "step_hint": 2_400,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 4,
        "simulated_step_seconds": 0.03,
    },
    "librispeech_conformer": SPEECH,
    "librispeech_deepspeech": SPEECH,
    "ogbg": {
        "num_train_examples": 12_000,
        "num_validation_examples": 1_441,
        "num_test_examples": 1_441,
        "num_eval_train_examples": 1_441,
        "eval_batch_size": 512,
        "batch_size_divisor": 16,
        "step_hint": 1_600,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 4,
        "simulated_step_seconds": 0.04,
    },
    "wmt": {
        "num_train_examples": 6_453,
        "num_validation_examples": 500,
        "num_test_examples": 500,
        "num_eval_train_examples": 256,
        "eval_batch_size": 128,
        "batch_size_divisor": 8,
        "step_hint": 1_500,
        "max_allowed_runtime_sec": 240,
        "eval_period_time_sec": 12,
        "simulated_step_seconds": 0.06,
    },
}
BATCH_SIZES = {
    "criteo1tb": 262_144,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "ogbg": 512,
    "wmt": 128,
}
"""Those that the full tier's targets were set with."""
AUGMENTATION = {
    "randaugment_layers",
    "freq_mask_max_bins",
    "freq_mask_count",
    "time_mask_count",
}
"""Of the input pipeline, where the mini tier's is weaker."""
SMALLER = {
    "vocab_size",
    "embed_dim",
    "mlp_bottom_dims",
    "mlp_top_dims",
    "num_channels",
    "num_classes",
    "center_crop_size",
    "resize_size",
    "num_pool_layers",
    "latent_dim",
    "hidden_dims",
    "num_message_passing_steps",
    "num_outputs",
    *AUGMENTATION,
}
ARCHITECTURE = {
    "stage_sizes",
    "num_filters",
    "patch_size",
    "width",
    "depth",
    "num_heads",
    "mlp_dim",
    "encoder_dim",
    "embed_dim",
    "num_encoder_layers",
    "num_attention_heads",
    "num_layers",
    "max_len",
    "convolution_kernel_size",
    "num_lstm_layers",
    "num_ffn_layers",
    "subsampling_channels",
    "batch_norm_momentum",
    "max_audio_length",
    "max_target_length",
}
"""Sizes that are the model's own in the full tier (ResNet-50, ViT-S/16, Conformer)."""
OF_THE_TIER = {
    *SIZES["ogbg"],
    "validation_target_value",
    "test_target_value",
    "model_config",
    "model_overrides",
}


def test_the_full_tier_is_the_workload_table() -> None:
    assert tiers.names(Tier.FULL) == workloads.names()
    for name in tiers.names("full"):
        assert tiers.get(name) is tiers.get(name, "full", "v0.6") is workloads.get(name)


@pytest.mark.clause("WORK-12", "WORK-13")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MINI)
def test_a_mini_row_keeps_what_is_not_a_size_or_target(name: str, version: str) -> None:
    mini = vars(tiers.get(name, Tier.MINI, version))
    full = vars(workloads.get(name, version))
    sizes = SIZES[workloads.base_name(name)]
    assert {key: mini[key] for key in sizes} == sizes
    for key in full.keys() - OF_THE_TIER:
        assert mini[key] == full[key]


@pytest.mark.clause("WORK-9", "WORK-12")
@pytest.mark.parametrize("name", MINI)
def test_a_mini_budget_leaves_room_for_more_steps_than_the_hint(name: str) -> None:
    mini = tiers.get(name, "mini")
    assert mini.max_allowed_runtime_sec / mini.step_seconds >= mini.step_hint
    assert mini.eval_period_time_sec * 10 <= mini.max_allowed_runtime_sec


@pytest.mark.clause("WORK-13")
@pytest.mark.parametrize("name", MINI)
def test_the_target_setting_batch_size_can_be_divided(name: str) -> None:
    batch_size = BATCH_SIZES[workloads.base_name(name)]
    assert batch_size % tiers.get(name, "mini").batch_size_divisor == 0


@pytest.mark.clause("WORK-12")
@pytest.mark.parametrize("name", MINI)
@pytest.mark.parametrize("num_devices", [1, 2, 4, 8])
def test_up_to_eight_devices_can_share_a_batch(name: str, num_devices: int) -> None:
    mini = tiers.get(name, "mini")
    assert mini.eval_batch_size % num_devices == 0
    training = BATCH_SIZES[workloads.base_name(name)] // mini.batch_size_divisor
    assert training % num_devices == 0


@pytest.mark.clause("WORK-12")
@pytest.mark.parametrize("name", MINI)
def test_a_mini_model_is_smaller_and_has_the_switches_of_its_variant(name: str) -> None:
    mini, full = tiers.get(name, "mini"), workloads.get(name)
    more = mini.model_config.keys() - full.model_config.keys()
    assert full.model_config.keys() <= mini.model_config.keys()
    assert more <= ARCHITECTURE | AUGMENTATION
    assert mini.model_overrides.keys() == full.model_overrides.keys()
    for key, value in mini.model_overrides.items():
        assert mini.model_config[key] == value
    full_keys = full.model_config.keys()
    for key, value in full.model_config.items():
        if key == "scale_ratio_range":
            # Digits are unlike photographs: a tenth of one says nothing.
            assert mini.model_config[key][0] >= value[0]
        elif key in SMALLER and mini.model_config[key] != value:
            assert np.all(np.less_equal(mini.model_config[key], value))
        else:
            assert mini.model_config[key] == value
    assert any(mini.model_config[key] != full.model_config[key] for key in SMALLER & full_keys)


@pytest.mark.clause("WORK-12")
def test_the_mini_tier_has_its_base_workloads_with_all_their_variants() -> None:
    assert list(tiers.MINI_ROWS) == list(SIZES)
    of_them = {name for name in workloads.names() if workloads.base_name(name) in tiers.MINI_ROWS}
    assert set(MINI) == of_them


def test_a_workload_without_mini_tier_is_an_error_that_says_so() -> None:
    known = "unknown mini-tier workload 'cifar'; known: criteo1tb"
    with pytest.raises(UnknownWorkload, match=known):
        tiers.get("cifar", "mini")
    with pytest.raises(UnknownWorkload, match="did you mean ogbg"):
        tiers.get("obgb", "mini")
    with pytest.raises(UnknownVersion):
        tiers.get("ogbg", "mini", "v1")
    with pytest.raises(ValueError, match="'tiny'"):
        tiers.get("ogbg", "tiny")
    with pytest.raises(ValueError, match="'tiny'"):
        tiers.names("tiny")
