"""Versions of code, rules and leaderboard, and the frozen packages."""

from __future__ import annotations

from pathlib import Path

import pytest

import algoperf_ref
from spec import clauses, versions
from spec.clauses import UnknownVersion
from spec.rulesets import RULESETS
from spec.versions import MalformedVersion, Version

CONSTRAINTS = Path(clauses.__file__).parents[1] / "constraints" / "v0.6.txt"


@pytest.mark.clause("VERS-1")
@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("0.6", Version(0, 6), "0.6"),
        ("v0.6", Version(0, 6), "0.6"),
        ("0.6.0", Version(0, 6, 0), "0.6.0"),
        ("1.10.23", Version(1, 10, 23), "1.10.23"),
        ("0.6.0.dev0", Version(0, 6, 0, ".dev0"), "0.6.0.dev0"),
        ("0.6.1rc2", Version(0, 6, 1, "rc2"), "0.6.1rc2"),
        ("0.6.0+g2c90454", Version(0, 6, 0), "0.6.0"),
        ("0.6.0.post1+local.2", Version(0, 6, 0, ".post1"), "0.6.0.post1"),
    ],
)
def test_versions_are_read(text: str, expected: Version, shown: str) -> None:
    assert Version.parse(text) == expected
    assert str(expected) == shown


@pytest.mark.clause("VERS-1")
@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "6", "v", "0.", ".6", "0.6.", "00.6", "0.06", "0.6.01", "0.6.0.0", "0.6-dev"),
        *("0.6.x", "-0.6", "0.6.0 ", "0.6\n", "paper2023", "V0.6", "0.٦", "0.6.0+", "0.6dev0"),
    ],
)
def test_what_is_no_version_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(MalformedVersion, match="is not a version such as") as caught:
        Version.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.clause("VERS-2")
def test_results_of_one_major_minor_are_comparable_whatever_the_patch() -> None:
    shared = {"code": "0.6.3", "rules": "0.6.0", "leaderboard": "v0.6"}
    assert versions.check_comparable(shared) == "v0.6"


@pytest.mark.clause("VERS-2")
@pytest.mark.parametrize(
    "other", [{"code": "0.5.9"}, {"code": "1.6.0"}, {"code": "0.60"}, {"code": "0.5.0.dev0"}]
)
def test_another_major_or_minor_is_not_comparable(other: dict[str, str]) -> None:
    with pytest.raises(versions.IncomparableVersions, match=r"rules 0\.6\.0"):
        versions.check_comparable({"rules": "0.6.0", **other})


@pytest.mark.clause("VERS-2")
def test_without_a_version_nothing_is_comparable() -> None:
    with pytest.raises(versions.IncomparableVersions, match="none"):
        versions.check_comparable({})


@pytest.mark.clause("VERS-3")
def test_the_version_of_the_code_says_which_rules_it_implements() -> None:
    assert versions.rules_of("0.5.2") == "v0.5"
    assert versions.rules_of(algoperf_ref.__version__) == max(RULESETS, key=list(RULESETS).index)
    with pytest.raises(UnknownVersion, match=r"v0\.7"):
        versions.rules_of("0.7.0")


@pytest.mark.clause("VERS-4")
def test_a_list_of_pins_is_read_by_normalised_name() -> None:
    text = "# exact\n\nPy_YAML==6.0.3  # for files\n a.b--c == 1.0+cpu\n"
    assert dict(versions.frozen_packages(text)) == {"py-yaml": "6.0.3", "a-b-c": "1.0+cpu"}


@pytest.mark.clause("VERS-4")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jax>=0.4", "line 1: 'jax>=0.4' is not an exact pin"),
        ("a==1\njax", "line 2: 'jax' is not an exact pin"),
        ("jax==0.10.*", "not an exact pin"),
        ("jax==1; python_version > '3'", "not an exact pin"),
        ("-r other.txt", "not an exact pin"),
        ("a_b==1\nA-b==1", "line 2: a-b is pinned twice"),
    ],
)
def test_what_is_no_exact_pin_is_an_error_that_names_the_line(text: str, message: str) -> None:
    with pytest.raises(versions.PinError, match=message):
        versions.frozen_packages(text)


@pytest.mark.clause("VERS-4")
@pytest.mark.skipif(not CONSTRAINTS.exists(), reason="only a checkout has the list of pins")
def test_this_projects_list_freezes_both_frameworks() -> None:
    frozen = versions.frozen_packages(CONSTRAINTS.read_text())
    assert {"jax", "jaxlib", "flax", "optax", "torch", "numpy"} <= set(frozen)


@pytest.mark.clause("VERS-5")
def test_differences_are_named_in_the_order_of_the_list() -> None:
    frozen = {"torch": "2.13.0", "jax": "0.10.2", "ml-dtypes": "0.6", "absl-py": "2.5.1"}
    installed = {"Jax": "0.10.3", "torch": "2.13.0+cpu", "ml_dtypes": "0.6.0", "extra": "1"}
    assert versions.differences(installed, frozen) == [
        "jax is 0.10.3, the benchmark uses 0.10.2",
        "absl-py is not installed, the benchmark uses 2.5.1",
    ]


@pytest.mark.clause("VERS-5")
@pytest.mark.parametrize(
    ("installed", "pin", "same"),
    [
        ("2.13.0", "2.13.0", True),
        ("2.13", "2.13.0", True),
        ("2.13.0", "2.13", True),
        ("2.13.0+cu126", "2.13.0", True),
        ("2.13.0+cu126", "2.13.0+cu126", True),
        ("2.13.0+cpu", "2.13.0+cu126", False),
        ("2.13.0", "2.13.0+cu126", False),
        ("2026.01.05", "2026.1.5", True),
        ("2.1.0", "2.10", False),
        ("10", "1", False),
        ("0.0", "0", True),
        ("1.0rc1", "1.0", False),
        ("1.0RC1", "1.0rc1", True),
    ],
)
def test_versions_are_the_same_as_installers_see_it(installed: str, pin: str, same: bool) -> None:
    assert versions.same_release(installed, pin) is same
