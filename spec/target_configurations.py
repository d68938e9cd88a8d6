"""The configurations that the published targets were set with: data only.

One configuration (algorithm and hyperparameters) per base workload, the best of all tuning trials,
with which the twenty reruns were made. The names are those of the search spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from spec.clauses import Source, rule


@dataclass(frozen=True, slots=True)
class Configuration:
    """One row of the paper's table; None means that the table has no entry.

    Attributes:
      algorithm: one of :data:`spec.target_setting.ALGORITHMS`.
      learning_rate: peak.
      weight_decay: decoupled in the Adam family, L2 in momentum methods.
      beta1: momentum, or decay of the first moment.
      beta2: decay of the second moment.
      warmup_factor: warm-up as a part of the steps.
      end_factor: rate of the constant end, as a part of the peak.
      decay_steps_factor: steps of the decay, as a part of those after the warm-up.
      dropout_rate: dropout.
      aux_dropout_rate: auxiliary dropout.
      label_smoothing: label smoothing.
    """

    algorithm: str
    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float | None
    warmup_factor: float
    end_factor: float | None
    decay_steps_factor: float | None
    dropout_rate: float
    aux_dropout_rate: float | None
    label_smoothing: float | None


rule(
    "TGT-14",
    "The published targets come from one configuration per base workload: NadamW on five, Nesterov "
    "on fastmri and ogbg, Heavy Ball on imagenet_resnet.",
    source=Source("Dahl et al. 2023", "5, Table 10"),
    implementation="spec.target_configurations.CONFIGURATIONS",
)
CONFIGURATIONS: Mapping[str, Configuration] = MappingProxyType(
    {
        "criteo1tb": Configuration(
            "nadamw", 0.003331, 0.003578, 0.948, 0.998793, 0.02, None, None, 0.1, None, None
        ),
        "fastmri": Configuration(
            "nesterov", 0.028609, 0.000577, 0.981543, None, 0.05, 0.01, 0.984398, 0.0, None, None
        ),
        "imagenet_resnet": Configuration(
            "heavy_ball", 4.131896, 5.67e-6, 0.927476, None, 0.05, 0.001, 0.900777, 0.0, None, 0.2
        ),
        "imagenet_vit": Configuration(
            "nadamw", 0.000844, 0.081354, 0.889576, 0.99785, 0.05, None, None, 0.0, None, 0.2
        ),
        "librispeech_conformer": Configuration(
            "nadamw", 0.001308, 0.163753, 0.973133, 0.998123, 0.10, None, None, 0.0, 0.0, None
        ),
        "librispeech_deepspeech": Configuration(
            "nadamw", 0.004958, 0.114739, 0.863744, 0.629185, 0.02, None, None, 0.0, 0.1, None
        ),
        "ogbg": Configuration(
            "nesterov", 2.491773, 1.29e-7, 0.944937, None, 0.05, 0.001, 0.861509, 0.1, None, 0.0
        ),
        "wmt": Configuration(
            "nadamw", 0.001749, 0.081216, 0.932661, 0.995516, 0.02, None, None, 0.1, 0.1, 0.0
        ),
    }
)
"""Configurations by base workload."""
