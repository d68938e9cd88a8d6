"""Dropout: the documented default rates of every workload, and how a submission changes them.

Rates are named by the kind of place where they act. A kind whose default is *fixed* is a dropout
layer that the rules keep at zero: no rate argument reaches it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from spec.clauses import BrokenRule, Source, check_version, clause, rule
from spec.workload_table import base_name

_TABLE = Source("Rules v0.6", "Workloads, default dropout values")


class DropoutError(BrokenRule):
    """A dropout rate that the model or the ruleset version does not take; a base."""


class NoDropoutDefaults(DropoutError, clause="DROP-1"):
    """A workload whose dropout rates are not documented."""


class AuxiliaryRateRemoved(DropoutError, clause="DROP-5"):
    """A second rate in a version that has one rate only."""


class IllegalDropoutRate(DropoutError, clause="DROP-7"):
    """A rate that is no probability below 1."""


class DropoutKind(enum.StrEnum):
    """Where a dropout rate acts."""

    MAIN = "main"
    ATTENTION = "attention"
    INPUT = "input"
    ATTENTION_RESIDUAL = "attention_residual"
    FEED_FORWARD = "feed_forward"
    FEED_FORWARD_RESIDUAL = "feed_forward_residual"
    CONVOLUTION_RESIDUAL = "convolution_residual"
    RECURRENT = "recurrent"


@dataclass(frozen=True, slots=True)
class DropoutDefault:
    """Default of one kind of dropout.

    Attributes:
      rate: the default rate, in [0, 1).
      fixed: no argument changes the rate.
      auxiliary: follows ``aux_dropout_rate`` where that argument exists (before v0.6).
    """

    rate: float
    fixed: bool = False
    auxiliary: bool = False


_NEVER = DropoutDefault(0.0, fixed=True)

rule(
    "DROP-1",
    "Models use their documented default dropout rates unless the submission overrides them; "
    "ResNet has no dropout.",
    source=_TABLE,
    implementation="spec.dropout.DEFAULTS",
)
rule(
    "DROP-2",
    "Conformer drops out at 0.1 on the input and on the attention and feed-forward residuals and "
    "nowhere else, although the official twins also drop out on the convolution residual, and "
    "one of them inside the feed-forward module.",
    source=(_TABLE, Source("Workload facts", "librispeech_conformer, 3"), Source("Decisions", "1")),
    implementation="spec.dropout.DEFAULTS",
)
rule(
    "DROP-3",
    "The Transformer applies its rate to the attention weights as well, in both frameworks.",
    source=(_TABLE, Source("Workload facts", "wmt, 3"), Source("Decisions", "1")),
    implementation="spec.dropout.DEFAULTS",
)
DEFAULTS: Mapping[str, Mapping[DropoutKind, DropoutDefault]] = MappingProxyType(
    {
        "criteo1tb": {DropoutKind.MAIN: DropoutDefault(0.0)},
        "fastmri": {DropoutKind.MAIN: DropoutDefault(0.0)},
        "imagenet_resnet": {},
        "imagenet_vit": {DropoutKind.MAIN: DropoutDefault(0.0)},
        "librispeech_conformer": {
            DropoutKind.INPUT: DropoutDefault(0.1, auxiliary=True),
            DropoutKind.ATTENTION_RESIDUAL: DropoutDefault(0.1),
            DropoutKind.FEED_FORWARD_RESIDUAL: DropoutDefault(0.1),
            DropoutKind.ATTENTION: _NEVER,
            DropoutKind.FEED_FORWARD: _NEVER,
            DropoutKind.CONVOLUTION_RESIDUAL: _NEVER,
        },
        "librispeech_deepspeech": {
            DropoutKind.INPUT: DropoutDefault(0.1, auxiliary=True),
            DropoutKind.FEED_FORWARD: DropoutDefault(0.1),
            DropoutKind.RECURRENT: _NEVER,
        },
        "ogbg": {DropoutKind.MAIN: DropoutDefault(0.1)},
        "wmt": {
            DropoutKind.MAIN: DropoutDefault(0.1),
            DropoutKind.ATTENTION: DropoutDefault(0.1, auxiliary=True),
        },
    }
)
"""Defaults by base workload; variants share them."""


def _table(workload: str) -> Mapping[DropoutKind, DropoutDefault]:
    base = base_name(workload)
    if base not in DEFAULTS:
        raise NoDropoutDefaults(f"no dropout defaults for workload {workload!r}")
    return DEFAULTS[base]


@clause(
    "DROP-4",
    "The default of the `dropout_rate` argument of model_fn is the one documented rate of the "
    "workload's adjustable dropout layers; it is None for a model without dropout.",
    source=(_TABLE, Source("Decisions", "12")),
)
def default_rate(workload: str) -> float | None:
    """Default of ``model_fn``'s ``dropout_rate``.

    Args:
      workload: workload name, base or variant.

    Returns:
      The rate, or None for a model without dropout.

    Raises:
      DropoutError: the workload is not in the table.
    """
    rates = {default.rate for default in _table(workload).values() if not default.fixed}
    return rates.pop() if rates else None


def default_rates(workload: str) -> Mapping[DropoutKind, float]:
    """Default rate of every kind of dropout in a model.

    Args:
      workload: workload name, base or variant.

    Returns:
      Rate by kind; empty for a model without dropout.

    Raises:
      DropoutError: the workload is not in the table.
    """
    return MappingProxyType({kind: default.rate for kind, default in _table(workload).items()})


@clause(
    "DROP-5",
    "The dropout rate is an argument of every model_fn call and may change from call to call; one "
    "rate serves all adjustable dropout layers, and adds none.",
    source=(Source("Rules v0.6", "Fixed functions: model_fn"), Source("Decisions", "12")),
    versions=("v0.6",),
)
@clause(
    "DROP-6",
    "Before v0.6 a main and an auxiliary rate were given once, to init_model_fn; the auxiliary "
    "rate belonged to the speech models' inputs and the Transformer's attention weights.",
    source=(Source("Harness contract", "5, step 2"), Source("Dahl et al. 2023", "Table 10")),
    versions=("paper2023", "v0.5"),
)
@clause(
    "DROP-7",
    "A dropout rate is a number of at least 0 and below 1.",
    source=(
        Source("Rules v0.6", "Fixed functions: model_fn"),
        Source("Workload facts", "shared, 8"),
    ),
)
def rates(
    workload: str,
    dropout_rate: float | None = None,
    aux_dropout_rate: float | None = None,
    *,
    version: str = "v0.6",
) -> Mapping[DropoutKind, float]:
    """The rates in effect when a submission passes the given arguments.

    Args:
      workload: workload name, base or variant.
      dropout_rate: overrides every adjustable rate (before v0.6: every main one); None keeps
        the defaults.
      aux_dropout_rate: overrides the auxiliary rates; exists before v0.6 only.
      version: ruleset version.

    Returns:
      Rate by kind; empty for a model without dropout, whatever the arguments.

    Raises:
      DropoutError: a rate outside [0, 1), ``aux_dropout_rate`` in v0.6, or an unknown workload.
    """
    check_version(version)
    if version == "v0.6" and aux_dropout_rate is not None:
        raise AuxiliaryRateRemoved(
            "aux_dropout_rate does not exist in v0.6; pass dropout_rate to model_fn"
        )
    for name, rate in (("dropout_rate", dropout_rate), ("aux_dropout_rate", aux_dropout_rate)):
        if rate is not None and not (math.isfinite(rate) and 0.0 <= rate < 1.0):
            raise IllegalDropoutRate(f"{name} is {rate}, must be at least 0 and less than 1")

    def in_effect(default: DropoutDefault) -> float:
        auxiliary = default.auxiliary and version != "v0.6"
        override = aux_dropout_rate if auxiliary else dropout_rate
        return default.rate if default.fixed or override is None else override

    return MappingProxyType(
        {kind: in_effect(default) for kind, default in _table(workload).items()}
    )
