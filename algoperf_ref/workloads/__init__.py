"""The benchmark's workloads; no framework is imported before :func:`load` is called."""

from __future__ import annotations

from algoperf_ref.workloads.registry import development_names, load, names

__all__ = ["development_names", "load", "names"]
