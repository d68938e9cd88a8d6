"""The commands of the click log; see ``algoperf_ref.data.datasets``."""

from __future__ import annotations

from algoperf_ref.data.criteo1tb.prepare import convert_all as convert
from algoperf_ref.data.criteo1tb.prepare import prepare
from algoperf_ref.data.criteo1tb.verify import listing, verify

__all__ = ["convert", "listing", "prepare", "verify"]
