"""PyTorch process set-up of the submission API (harness contract, section 1.2)."""

from __future__ import annotations

from algoperf_ref.frameworks.torch_device import pytorch_setup

__all__ = ["pytorch_setup"]
