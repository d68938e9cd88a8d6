"""Makes the official package's import names lead to this package, for unmodified submissions.

While :func:`official_names` is active, ``algoperf`` and its older name ``algorithmic_efficiency``
are importable whether the official package is installed or not, and both lead to the same objects:
``algoperf.spec.ForwardPassMode is algorithmic_efficiency.spec.ForwardPassMode``. Source: Harness
contract, 1 (what real submissions import) and 3.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

ROOTS: tuple[str, ...] = ("algoperf", "algorithmic_efficiency")
"""Names of the official package, now and before v0.6."""

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "spec": "spec.submission",
        "pytorch_utils": "algoperf_ref.pytorch_utils",
        "jax_sharding_utils": "algoperf_ref.jax_sharding_utils",
        "random_utils": "",  # by framework
    }
)
"""Modules below a root, and ours that they lead to."""

RANDOM: Mapping[str, str] = MappingProxyType(
    {"jax": "jax.random", "pytorch": "algoperf_ref.frameworks.numpy_random"}
)
"""What ``random_utils`` is: the functions that make the keys of a run."""

COLLECTIONS: tuple[str, ...] = ("submissions", "submissions_algorithms", "algorithms")
"""Roots of the dotted names by which submissions of the leaderboards import their own helpers."""


def calls_pmap(file: Path) -> bool:
    """Tells whether a Python file names ``pmap``, alone or as an attribute such as ``jax.pmap``.

    Args:
      file: of a submission; one that cannot be read or parsed has no ``pmap``.
    """
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "pmap")
        or (isinstance(node, ast.Name) and node.id == "pmap")
        for node in _nodes(file)
    )


class _Alias(importlib.abc.Loader):
    """Puts a module of ours under another name."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what it finds here afterwards, which is documented. The module
        # keeps its own name and its own spec.
        sys.modules[module.__name__] = importlib.import_module(self._target)


class _Root(importlib.abc.Loader):
    """Makes the package itself, whose attributes are imported when they are asked for."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        root = module.__name__
        module.__doc__ = f"{root}, as far as submissions use it; see algoperf_ref.compat."

        def attribute(name: str) -> Any:
            if name in MODULES:
                return importlib.import_module(f"{root}.{name}")
            raise AttributeError(f"module {root!r} has no attribute {name!r}")

        module.__getattr__ = attribute  # type: ignore[method-assign]


class _OfficialNames(importlib.abc.MetaPathFinder):
    """Finds the official names before anything that is installed.

    Args:
      framework: ``"jax"`` or ``"pytorch"``.
    """

    def __init__(self, framework: str) -> None:
        self._targets = {**MODULES, "random_utils": RANDOM[framework]}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, rest = fullname.partition(".")
        if root not in ROOTS:
            return None
        if not rest:
            return importlib.machinery.ModuleSpec(fullname, _Root(), is_package=True)
        if rest in self._targets:
            return importlib.machinery.ModuleSpec(fullname, _Alias(self._targets[rest]))
        known = ", ".join(f"{root}.{name}" for name in MODULES)
        # Not ModuleNotFoundError, whose message `from algoperf import name` would hide.
        raise ImportError(
            f"{fullname} is not there: of the official package, submissions get {known}; "
            "if it is installed, --no-compat leaves it alone",
            name=fullname,
        )


class _OwnHelpers(importlib.abc.MetaPathFinder):
    """Finds a submission's own files under the dotted names of the leaderboards' repositories.

    ``submissions.<...>.external_tuning.mine.helper`` is ``helper.py`` in the directory ``mine``
    that the submission lies in, or in one above it; what stands before is of no account. Comes
    after everything else, so that a whole repository in its own place is imported as it is.

    Args:
      file: of the submission.
    """

    def __init__(self, file: Path) -> None:
        self._directories = [file.parent, *file.parent.parents]
        # Packages that are there only to lead to a file.
        self._prefixes: set[str] = set()
        # Only files that may be the submission's: others in its directory may be very many.
        waiting, seen = sorted(file.parent.glob("*.py")), set[Path]()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            for name in _imported_names(place):
                found = self._own_file(name)
                if found is None:
                    continue
                parts = name.split(".")
                self._prefixes.update(".".join(parts[:end]) for end in range(1, len(parts)))
                if found.origin is not None:
                    waiting.append(Path(found.origin))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        found = self._own_file(fullname)
        if found is None and fullname in self._prefixes:
            return _package_without_files(fullname)
        return found

    def _own_file(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        if parts[0] not in COLLECTIONS:
            return None
        for directory in self._directories:
            # From the end: a directory may have the name of one of those above it.
            for place in range(len(parts) - 1, 0, -1):
                if parts[place] == directory.name:
                    found = _below(fullname, directory, parts[place + 1 :])
                    if found is not None:
                        return found
        return None


def _nodes(file: Path) -> Iterator[ast.AST]:
    """Yields the syntax of a Python file; nothing of one that cannot be read or parsed."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # told when it is imported
    yield from ast.walk(tree)


def _imported_names(file: Path) -> Iterator[str]:
    """Yields what a Python file imports from the collections."""
    for node in _nodes(file):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] in COLLECTIONS)


def _package_without_files(fullname: str) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = []
    return spec


def _below(
    fullname: str, directory: Path, rest: Sequence[str]
) -> importlib.machinery.ModuleSpec | None:
    """Returns the spec of a module or package in a directory, if there is one."""
    place = directory.joinpath(*rest)
    if rest and place.with_suffix(".py").is_file():
        return importlib.util.spec_from_file_location(fullname, place.with_suffix(".py"))
    if not place.is_dir():
        return None
    start = place / "__init__.py"
    if start.is_file():
        return importlib.util.spec_from_file_location(
            fullname, start, submodule_search_locations=[str(place)]
        )
    spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [str(place)]
    return spec


@contextmanager
def official_names(file: Path, framework: str, *, enabled: bool = True) -> Iterator[None]:
    """Lets a submission import what it would find in the official repository.

    Args:
      file: of the submission.
      framework: ``"jax"`` or ``"pytorch"``.
      enabled: False changes nothing.

    Yields:
      Nothing. Afterwards the names mean what they meant before.
    """
    if not enabled:
        yield
        return
    finders = (_OfficialNames(framework), _OwnHelpers(file.resolve()))
    roots = (*ROOTS, *COLLECTIONS)
    hidden = _taken(ROOTS)
    before = {name for name in sys.modules if name.partition(".")[0] in COLLECTIONS}
    sys.meta_path.insert(0, finders[0])
    sys.meta_path.append(finders[1])
    try:
        yield
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n.partition(".")[0] in roots and n not in before]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _taken(roots: Sequence[str]) -> dict[str, ModuleType]:
    """Takes the modules below some roots away, and returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] in roots]
    return {name: sys.modules.pop(name) for name in names}
