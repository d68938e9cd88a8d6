"""The commands of the sentence pairs; see ``algoperf_ref.data.datasets``."""

from __future__ import annotations

from algoperf_ref.data.wmt.prepare import convert, prepare
from algoperf_ref.data.wmt.verify import listing, verify

__all__ = ["convert", "listing", "prepare", "verify"]
