"""The commands of the scans; see ``algoperf_ref.data.datasets``. Nothing is to be converted."""

from __future__ import annotations

from algoperf_ref.data.fastmri.prepare import prepare
from algoperf_ref.data.fastmri.verify import listing, verify

__all__ = ["listing", "prepare", "verify"]
