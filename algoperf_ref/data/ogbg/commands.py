"""The commands of the molecules; see ``algoperf_ref.data.datasets``."""

from __future__ import annotations

from algoperf_ref.data.ogbg.prepare import convert, prepare
from algoperf_ref.data.ogbg.verify import listing, verify

__all__ = ["convert", "listing", "prepare", "verify"]
