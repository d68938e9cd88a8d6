"""The data sets by name, and what the command line asks of each.

A data set is a package ``algoperf_ref.data.<name>`` with a module ``commands``, which has

- ``prepare(data_dir, tier, *, source=None, processes=None, say=print) -> Path``;
- ``verify(data_dir, tier) -> list[str]``: one sentence per problem;
- ``listing(data_dir) -> list[Listing]``;
- ``convert(data_dir, *, tier, source=None, say=print) -> Path``: into a format that is quicker to
  read, or that needs no TensorFlow; only where there is one.

All raise :class:`algoperf_ref.errors.UserError` for what a user can mend.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

NAMES = ("criteo1tb", "fastmri", "imagenet", "librispeech", "ogbg", "wmt", "mnist", "cifar")
"""The data sets, in the order of the rules' table, then those of the development workloads."""

TIERS = ("full", "mini")


class Listing(NamedTuple):
    """A tier that is there.

    Attributes:
      dataset: name of the data set.
      tier: ``full`` or ``mini``.
      place: its directory.
      state: ``prepared``, or what is still to be done.
      examples: number of examples of each split, as far as it is known.
      bytes: size on disk.
    """

    dataset: str
    tier: str
    place: str
    state: str
    examples: Mapping[str, int]
    bytes: int


def commands(name: str) -> ModuleType:
    """Imports the commands of a data set; only those, since each needs libraries of its own."""
    return importlib.import_module(f"algoperf_ref.data.{name}.commands")


def of_workload(name: str) -> str:
    """Returns the data set of a workload, for example ``imagenet`` for ``imagenet_vit_glu``."""
    return next(dataset for dataset in NAMES if name.startswith(dataset))
