"""The commands of the images; see ``algoperf_ref.data.datasets``."""

from __future__ import annotations

from algoperf_ref.data.imagenet.convert import convert
from algoperf_ref.data.imagenet.prepare import prepare
from algoperf_ref.data.imagenet.verify import listing, verify

__all__ = ["convert", "listing", "prepare", "verify"]
