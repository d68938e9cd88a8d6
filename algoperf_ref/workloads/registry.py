"""Workloads by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from algoperf_ref import frameworks
from algoperf_ref.errors import UserError
from spec import development, tiers
from spec.workloads import UnknownWorkload, base_name

if TYPE_CHECKING:
    from algoperf_ref.frameworks.base import Backend
    from algoperf_ref.workloads.base import BaseWorkload

_CLASSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "cifar": ("algoperf_ref.workloads.cifar.workload", "CifarWorkload"),
        "criteo1tb": ("algoperf_ref.workloads.criteo1tb.workload", "CriteoWorkload"),
        "fastmri": ("algoperf_ref.workloads.fastmri.workload", "FastmriWorkload"),
        "imagenet_resnet": ("algoperf_ref.workloads.imagenet.workload", "ImagenetResNetWorkload"),
        "imagenet_vit": ("algoperf_ref.workloads.imagenet.workload", "ImagenetVitWorkload"),
        "librispeech_conformer": (
            "algoperf_ref.workloads.librispeech.workload",
            "ConformerWorkload",
        ),
        "librispeech_deepspeech": (
            "algoperf_ref.workloads.librispeech.workload",
            "DeepspeechWorkload",
        ),
        "mnist": ("algoperf_ref.workloads.mnist.workload", "MnistWorkload"),
        "ogbg": ("algoperf_ref.workloads.ogbg.workload", "OgbgWorkload"),
        "wmt": ("algoperf_ref.workloads.wmt.workload", "WmtWorkload"),
    }
)
"""Base workload -> (module, class). Variants differ only in their row of the specification."""


def names(tier: str = "full") -> tuple[str, ...]:
    """Returns the names of the benchmark's workloads that can be loaded in a tier.

    Args:
      tier: ``"full"`` or ``"mini"``.

    Raises:
      UserError: unknown tier.
    """
    return tuple(name for name in tiers.names(_tier(tier)) if base_name(name) in _CLASSES)


def development_names(tier: str = "full") -> tuple[str, ...]:
    """Returns the names of the development workloads of a tier, which :func:`load` takes too.

    Args:
      tier: ``"full"`` or ``"mini"``.

    Raises:
      UserError: unknown tier.
    """
    return development.names(_tier(tier))


def load(
    name: str,
    framework: str = "jax",
    tier: str = "full",
    version: str = "v0.6",
    backend: Backend | None = None,
) -> BaseWorkload:
    """Builds a workload; imports its framework, and only that one.

    Args:
      name: for example ``"ogbg"`` or ``"ogbg_gelu"``; see :func:`names` and
        :func:`development_names`.
      framework: ``"jax"`` or ``"pytorch"``.
      tier: ``"full"`` or ``"mini"``.
      version: ruleset version.
      backend: devices to use, of the same framework; None sets the framework up.

    Raises:
      UserError: unknown name (near names are listed), framework, tier or version, a framework
        that is not installed, or a backend of the other framework.
    """
    level = _tier(tier)
    known = (*names(level.value), *development_names(level.value))
    if name in set(development_names("full")) - set(known):
        raise UserError(
            f"{name} has no {level.value} tier, since no package carries its data: choose the full "
            "one, which reads your own files"
        )
    if name not in known:
        raise UserError(str(UnknownWorkload(name, known, f"{level.value} workload")))
    try:
        spec = tiers.get(name, level, version)
    except ValueError as error:
        raise UserError(str(error)) from error
    backend = frameworks.create(framework) if backend is None else backend
    if backend.name != framework:
        raise UserError(f"the backend is of {backend.name!r}, the framework is {framework!r}")
    module, class_name = _CLASSES[base_name(name)]
    workload: BaseWorkload = getattr(importlib.import_module(module), class_name)(
        spec, level, backend
    )
    return workload


def _tier(tier: str) -> tiers.Tier:
    try:
        return tiers.Tier(tier)
    except ValueError as error:
        known = ", ".join(level.value for level in tiers.Tier)
        raise UserError(f"unknown tier {tier!r}: choose one of {known}") from error
