"""Sizes, budgets and targets of the mini tier: data only; :mod:`spec.tiers` makes rows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from spec.clauses import Source, rule


@dataclass(frozen=True)
class MiniRow:
    """What the mini tier of a base workload changes; fields as in ``WorkloadSpec``.

    Attributes:
      config: entries of ``model_config`` for the base workload and for each of its variants;
        a variant that is not listed keeps the base's mini entries and its own overrides.
    """

    num_train_examples: int
    num_validation_examples: int
    num_test_examples: int
    num_eval_train_examples: int
    eval_batch_size: int
    batch_size_divisor: int
    step_hint: int
    max_allowed_runtime_sec: int
    eval_period_time_sec: int
    step_seconds: float
    config: Mapping[str, Mapping[str, Any]]


# (validation, test), set by `python -m algoperf_ref.target_setting` and rounded to 4 digits, to the
# easier side. Runs and budgets: algoperf_ref/workloads/*/mini_targets/, held to this by a test.
MINI_TARGETS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "criteo1tb": (0.4313, 0.4367),
        "criteo1tb_layernorm": (0.4351, 0.4414),
        "criteo1tb_resnet": (0.4349, 0.4395),
        "criteo1tb_embed_init": (0.4404, 0.4467),
        "fastmri": (0.8273, 0.8174),
        "fastmri_model_size": (0.841, 0.8375),
        "fastmri_tanh": (0.6775, 0.662),
        "fastmri_layernorm": (0.8068, 0.7923),
        "imagenet_resnet": (0.856, 0.866),
        "imagenet_resnet_silu": (0.78, 0.796),
        "imagenet_resnet_gelu": (0.794, 0.798),
        "imagenet_resnet_large_bn_init": (0.824, 0.83),
        "imagenet_vit": (0.714, 0.706),
        "imagenet_vit_glu": (0.638, 0.644),
        "imagenet_vit_post_ln": (0.38, 0.41),
        "imagenet_vit_map": (0.466, 0.506),
        "librispeech_conformer": (0.0829, 0.0877),
        "librispeech_conformer_attention_temperature": (0.1422, 0.1355),
        "librispeech_conformer_layernorm": (0.0977, 0.1031),
        "librispeech_conformer_gelu": (0.0804, 0.0699),
        "librispeech_deepspeech": (0.0421, 0.035),
        "librispeech_deepspeech_tanh": (0.0637, 0.0736),
        "librispeech_deepspeech_no_resnet": (0.0334, 0.0393),
        "librispeech_deepspeech_norm_and_spec_aug": (0.1607, 0.1687),
        "ogbg": (0.5371, 0.5296),
        "ogbg_gelu": (0.5557, 0.5621),
        "ogbg_silu": (0.4538, 0.4375),
        "ogbg_model_size": (0.2954, 0.3067),
        "wmt": (16.7425, 17.7028),
        "wmt_post_ln": (12.4339, 14.2665),
        "wmt_attention_temp": (7.7199, 9.5602),
        "wmt_glu_tanh": (20.5141, 20.6998),
    }
)

# The two speech workloads have the same data.
_SPEECH: Mapping[str, Any] = {
    "num_train_examples": 2_000,
    "num_validation_examples": 300,
    "num_test_examples": 300,
    "num_eval_train_examples": 300,
    "eval_batch_size": 104,
    "batch_size_divisor": 16,
    "step_hint": 500,
    "max_allowed_runtime_sec": 240,
    "eval_period_time_sec": 6,
    "step_seconds": 0.09,
}
_SPEECH_CONFIG: Mapping[str, Any] = {
    "num_outputs": 64,
    "max_audio_length": 25_600,
    "max_target_length": 32,
    "encoder_dim": 64,
    "subsampling_channels": 32,
    # The running statistics of a thousand steps would never be those of a short run.
    "batch_norm_momentum": 0.9,
    # At full strength most of such short utterances would be masked.
    "freq_mask_max_bins": 10,
    "freq_mask_count": 1,
    "time_mask_count": 2,
}

rule(
    "WORK-12",
    "The mini tier keeps the metric, the loss and the rules of a workload and changes only sizes, "
    "data, budgets and targets; its budgets do not depend on the ruleset version.",
    source=(Source("Workload facts", "mini_tier, part 2"), Source("Decisions", "18")),
    implementation="spec.tier_table.MINI_ROWS",
)
MINI_ROWS: Mapping[str, MiniRow] = MappingProxyType(
    {
        "criteo1tb": MiniRow(
            num_train_examples=286_776,
            num_validation_examples=25_000,
            num_test_examples=25_000,
            num_eval_train_examples=25_000,
            eval_batch_size=5_000,
            batch_size_divisor=1_024,
            step_hint=1_100,  # just below one epoch; the full tier's is two thirds of one
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.04,
            config={
                "criteo1tb": {
                    "vocab_size": 65_536,
                    "embed_dim": 16,
                    "mlp_bottom_dims": (64, 32, 16),
                    "mlp_top_dims": (128, 128, 64, 32, 1),
                },
                # As in the full tier: all layers of the same width, half of the second-widest.
                "criteo1tb_resnet": {
                    "vocab_size": 65_536,
                    "embed_dim": 16,
                    "mlp_bottom_dims": (64, 64, 64),
                    "mlp_top_dims": (64, 64, 64, 64, 1),
                },
            },
        ),
        "fastmri": MiniRow(
            num_train_examples=456,
            num_validation_examples=88,
            num_test_examples=80,
            num_eval_train_examples=88,
            eval_batch_size=8,
            batch_size_divisor=4,
            step_hint=800,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.08,
            config={
                "fastmri": {"num_pool_layers": 3, "num_channels": 8},
                # As in the full tier: twice the width, one pooling less.
                "fastmri_model_size": {"num_pool_layers": 2, "num_channels": 16},
            },
        ),
        "imagenet_resnet": MiniRow(
            num_train_examples=4_000,
            num_validation_examples=500,
            num_test_examples=500,
            num_eval_train_examples=500,
            eval_batch_size=128,
            batch_size_divisor=32,
            step_hint=1_000,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.05,
            config={
                "imagenet_resnet": {
                    "num_classes": 10,
                    "center_crop_size": 64,
                    "resize_size": 73,
                    "stage_sizes": (1, 1, 1, 1),
                    "num_filters": 8,
                },
            },
        ),
        "imagenet_vit": MiniRow(
            num_train_examples=4_000,
            num_validation_examples=500,
            num_test_examples=500,
            num_eval_train_examples=500,
            eval_batch_size=128,
            batch_size_divisor=32,
            step_hint=2_400,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.03,
            config={
                "imagenet_vit": {
                    "num_classes": 10,
                    "center_crop_size": 32,
                    "resize_size": 36,
                    "scale_ratio_range": (0.35, 1.0),
                    # An inverted or solarised digit is another picture: with RandAugment a run of
                    # this length ends at an accuracy below a half, and variants below a third.
                    "randaugment_layers": 0,
                    "patch_size": 8,
                    "width": 64,
                    "depth": 2,
                    "num_heads": 4,
                    "mlp_dim": 256,
                },
            },
        ),
        "librispeech_conformer": MiniRow(
            **_SPEECH,
            config={
                "librispeech_conformer": {
                    **_SPEECH_CONFIG,
                    "num_encoder_layers": 2,
                    "num_attention_heads": 4,
                    # With two blocks five frames are less than a word's worth.
                    "convolution_kernel_size": 15,
                },
            },
        ),
        "librispeech_deepspeech": MiniRow(
            **_SPEECH,
            config={
                "librispeech_deepspeech": {
                    **_SPEECH_CONFIG,
                    "num_lstm_layers": 2,
                    "num_ffn_layers": 1,
                },
                # As in the full tier: twice the frequency masks, half as many time masks more.
                "librispeech_deepspeech_norm_and_spec_aug": {
                    **_SPEECH_CONFIG,
                    "num_lstm_layers": 2,
                    "num_ffn_layers": 1,
                    "layernorm_everywhere": True,
                    "enable_decoder_layer_norm": False,
                    "freq_mask_count": 2,
                    "time_mask_count": 3,
                },
            },
        ),
        "ogbg": MiniRow(
            num_train_examples=12_000,
            num_validation_examples=1_441,
            num_test_examples=1_441,
            num_eval_train_examples=1_441,
            eval_batch_size=512,
            batch_size_divisor=16,
            step_hint=1_600,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.04,
            config={
                "ogbg": {"hidden_dims": (64,), "latent_dim": 64, "num_message_passing_steps": 2},
                # As in the full tier: half the width, two hidden layers, fewer steps.
                "ogbg_model_size": {
                    "hidden_dims": (64, 64),
                    "latent_dim": 32,
                    "num_message_passing_steps": 1,
                },
            },
        ),
        "wmt": MiniRow(
            num_train_examples=6_453,
            num_validation_examples=500,
            num_test_examples=500,
            num_eval_train_examples=256,
            eval_batch_size=128,
            batch_size_divisor=8,
            step_hint=1_500,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=12,
            step_seconds=0.06,
            config={
                "wmt": {
                    "vocab_size": 2_000,
                    "embed_dim": 128,
                    "num_heads": 4,
                    "num_layers": 2,
                    "mlp_dim": 256,
                    "max_len": 32,
                },
            },
        ),
    }
)
"""Mini rows by base workload."""
