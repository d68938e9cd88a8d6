"""What the processes of a distributed run do beside process 0, which writes and prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from algoperf_ref.frameworks.base import Backend
from algoperf_ref.harness.files import NoFiles

T = TypeVar("T")


class Follower(NoFiles):
    """Writes nothing, but takes part where gathering the training state needs all processes."""

    def __init__(self, *, wants_checkpoints: bool) -> None:
        """Args:
        wants_checkpoints: whether process 0 writes checkpoints.
        """
        self.wants_checkpoints = wants_checkpoints


def on_first(backend: Backend, function: Callable[[], T]) -> T | None:
    """Calls a function on process 0 only, for what it does to files; None on the others."""
    return function() if backend.process_index == 0 else None
