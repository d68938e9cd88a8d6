"""Versions: which results may be compared, and the packages that are frozen for a version.

Exact pins are compared, nothing else: ``==`` pins of final releases, as constraint files have them.
Ranges, pre-releases and environment markers need a resolver and are left to the installer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from spec.clauses import BrokenRule, Source, check_version, clause
from spec.rulesets import RULESETS

_POLICY = Source("Rules v0.6", "Versioning Policy")
_FREEZE = (
    Source("Rules v0.6", "Versioning Policy, Version freeze"),
    Source("Decisions", "16"),
)

_VERSION = re.compile(
    r"v?(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)"
    r"(?:\.(?P<patch>0|[1-9]\d*)(?P<suffix>(?:\.dev|\.post|a|b|rc)\d+)?(?:\+[A-Za-z0-9.]+)?)?",
    re.ASCII,
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*==\s*(?P<version>[^\s#;,*]+)", re.ASCII
)


class MalformedVersion(BrokenRule, clause="VERS-1"):
    """A text is not the version of a component of the benchmark."""


class IncomparableVersions(BrokenRule, clause="VERS-2"):
    """Results of different benchmark versions are compared."""


class PinError(BrokenRule, clause="VERS-4"):
    """A line of a list of frozen packages is not an exact pin, or pins a package twice."""


@clause(
    "VERS-1",
    """Code, rules and leaderboard each have a version Major.Minor.Patch; the patch is for small
    changes that break nothing, may differ between them, and may be left out.""",
    source=_POLICY,
)
@dataclass(frozen=True, slots=True)
class Version:
    """Version of one component of the benchmark.

    Attributes:
      major: first number.
      minor: second number; together with the first it decides what is comparable.
      patch: third number, None if it was left out.
      suffix: what marks an unfinished or repaired build, for example ``.dev0``; often empty.
    """

    major: int
    minor: int
    patch: int | None = None
    suffix: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Reads ``0.6``, ``v0.6``, ``0.6.0``, ``0.6.1.dev0`` or ``0.6.0+local``.

        Args:
          text: the version; the local part after ``+`` names a build and is dropped.

        Returns:
          The version.

        Raises:
          MalformedVersion: it has another form.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            raise MalformedVersion(f"{text!r} is not a version such as 0.6 or 0.6.1")
        patch = match["patch"]
        return cls(
            int(match["major"]),
            int(match["minor"]),
            None if patch is None else int(patch),
            match["suffix"] or "",
        )

    @property
    def unified(self) -> str:
        """The part that code, rules and leaderboard share, named as rulesets are: ``v0.6``."""
        return f"v{self.major}.{self.minor}"

    def __str__(self) -> str:
        patch = "" if self.patch is None else f".{self.patch}"
        return f"{self.major}.{self.minor}{patch}{self.suffix}"


@clause(
    "VERS-2",
    """Results are comparable exactly if Major and Minor of code, rules and leaderboard are the same
    for all of them; the patch does not matter.""",
    source=_POLICY,
)
def check_comparable(versions: Mapping[str, str]) -> str:
    """Raises unless results that carry these versions may be compared.

    Args:
      versions: version by what it is the version of, for example ``{"code": "0.6.2", "rules":
        "0.6.0", "leaderboard": "0.6"}``; at least one.

    Returns:
      The shared version, for example ``v0.6``.

    Raises:
      IncomparableVersions: Major or Minor differ, or there is no version at all.
      MalformedVersion: one is not a version.
    """
    parsed = {name: Version.parse(text) for name, text in versions.items()}
    unified = sorted({version.unified for version in parsed.values()})
    if len(unified) != 1:
        listed = ", ".join(f"{name} {version}" for name, version in parsed.items()) or "none"
        raise IncomparableVersions(f"the versions share no Major.Minor: {listed}")
    return unified[0]


@clause(
    "VERS-3",
    """The version of the code alone says which rules its results were made under: those of the same
    Major.Minor.""",
    source=_POLICY,
)
def rules_of(code_version: str) -> str:
    """Ruleset version that a version of the code implements.

    Args:
      code_version: for example ``algoperf_ref.__version__``.

    Returns:
      The ruleset version.

    Raises:
      MalformedVersion: not a version.
      spec.clauses.UnknownVersion: there are no rules of this Major.Minor.
    """
    return RULESETS[check_version(Version.parse(code_version).unified)].version


@clause(
    "VERS-4",
    """The packages that the benchmark depends on are frozen between benchmark versions: one exact
    version each, written down in a list.""",
    source=_FREEZE,
)
def frozen_packages(text: str) -> Mapping[str, str]:
    """Reads a list of frozen packages, in the format of a constraints file.

    Args:
      text: lines ``name==version``; comments and empty lines are skipped.

    Returns:
      Version by normalised name (:func:`normal_name`), in the order of the list.

    Raises:
      PinError: a line is something else, or a package is pinned twice.
    """
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        match = _PIN.fullmatch(content)
        if match is None:
            raise PinError(f"line {number}: {content!r} is not an exact pin name==version")
        name = normal_name(match["name"])
        if name in pins:
            raise PinError(f"line {number}: {name} is pinned twice")
        pins[name] = match["version"]
    return MappingProxyType(pins)


@clause(
    "VERS-5",
    """Runs whose results are compared use the frozen package versions: an installed package with
    another version, or a missing one, is a difference; packages beyond the list are not.""",
    source=_FREEZE,
)
def differences(installed: Mapping[str, str], frozen: Mapping[str, str]) -> list[str]:
    """Compares the installed packages with the frozen ones.

    Args:
      installed: installed version by package name.
      frozen: see :func:`frozen_packages`.

    Returns:
      One sentence per difference, in the order of ``frozen``; empty if there is none.
    """
    found = {normal_name(name): version for name, version in installed.items()}
    sentences = []
    for name, pin in frozen.items():
        version = found.get(normal_name(name))
        if version is None:
            sentences.append(f"{name} is not installed, the benchmark uses {pin}")
        elif not same_release(version, pin):
            sentences.append(f"{name} is {version}, the benchmark uses {pin}")
    return sentences


def normal_name(name: str) -> str:
    """A package name as the package index compares it: lower case, runs of ``-_.`` as ``-``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def same_release(installed: str, pin: str) -> bool:
    """Whether an installed version satisfies an exact pin.

    As installers do, ``2.13`` equals ``2.13.0``, and the local part of an installed version (the
    build, as in ``2.13.0+cpu``) counts only if the pin has one.

    Args:
      installed: the installed version.
      pin: the version after ``==``.

    Returns:
      True if it does.
    """
    if "+" not in pin:
        installed = installed.split("+", 1)[0]
    return _padded(installed) == _padded(pin)


def _padded(version: str) -> str:
    release, plus, local = version.lower().removeprefix("v").partition("+")
    # Zeros in front of and at the end of numbers carry no meaning, but only where the whole
    # release is numbers and dots is it safe to drop them.
    if re.fullmatch(r"\d+(\.\d+)*", release, re.ASCII):
        numbers = ".".join(str(int(part)) for part in release.split("."))
        release = re.sub(r"(\.0)+$", "", numbers)
    return release + plus + local
