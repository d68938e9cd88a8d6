"""The canonical harness: loads a submission, trains trials, keeps the clock, asks the spec."""

from __future__ import annotations
