"""Picks the JAX or the PyTorch twin of a module by the framework's name."""

from __future__ import annotations

import importlib
from types import ModuleType

_SUFFIXES = {"jax": "jax", "pytorch": "torch"}


def load_twin(pattern: str, framework: str) -> ModuleType:
    """Imports the module of one framework; the other framework is not imported.

    Args:
      pattern: dotted module name with ``{}`` where the twins' names differ, for example
        ``"algoperf_ref.frameworks.{}_losses"`` for ``jax_losses`` and ``torch_losses``.
      framework: ``"jax"`` or ``"pytorch"``.

    Returns:
      The module.

    Raises:
      ValueError: unknown framework.
    """
    if framework not in _SUFFIXES:
        raise ValueError(f"unknown framework {framework!r}: choose one of {', '.join(_SUFFIXES)}")
    return importlib.import_module(pattern.format(_SUFFIXES[framework]))
