"""Deliberately wrong implementations of the rules, each with the case that has to catch it.

A wrong implementation is a function that changes the rules through pytest's monkeypatch, or returns
an implementation of the operations of :mod:`spec.cases` in place of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from spec.cases import operations

Change = Callable[[pytest.MonkeyPatch], Any]


@dataclass(frozen=True)
class Wrong:
    """A wrong implementation.

    Attributes:
      name: what is wrong, as a Python name.
      caught_by: id of the case that catches it.
      change: puts it in place.
    """

    name: str
    caught_by: str
    change: Change


class Registry(list[Wrong]):
    """Collects the functions that it decorates."""

    def caught_by(self, case: str) -> Callable[[Change], Change]:
        """Registers the decorated function as one that the case catches."""

        def register(change: Change) -> Change:
            self.append(Wrong(change.__name__, case, change))
            return change

        return register


def ours_but(**functions: Callable[..., Any]) -> SimpleNamespace:
    """Our implementation of the operations with other functions for some of them."""
    own = {name: getattr(operations, name) for name in operations.__all__}
    assert set(functions) <= set(own)
    return SimpleNamespace(**{**own, **functions})
