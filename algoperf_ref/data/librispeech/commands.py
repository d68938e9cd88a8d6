"""The commands of the utterances; see ``algoperf_ref.data.datasets``."""

from __future__ import annotations

from algoperf_ref.data.librispeech.convert import convert
from algoperf_ref.data.librispeech.prepare import prepare
from algoperf_ref.data.librispeech.verify import listing, verify

__all__ = ["convert", "listing", "prepare", "verify"]
