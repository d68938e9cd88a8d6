"""Laws of versions and pins; ``packaging``, which installers use, is the oracle."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version as Oracle

from spec import versions
from spec.versions import IncomparableVersions, Version

numbers = st.integers(min_value=0, max_value=30)
parsed = st.builds(Version, numbers, numbers, st.none() | numbers, st.just("")) | st.builds(
    Version, numbers, numbers, numbers, st.sampled_from(["", ".dev0", ".post3", "rc1"])
)
releases = st.lists(st.sampled_from([0, 0, 1, 2, 10]), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
locals_ = st.sampled_from(["", "", "+cpu", "+cu126"])
installed = st.builds(str.__add__, releases, locals_)
names = st.text("abAB-_.", min_size=1, max_size=6).map(lambda name: f"x{name}y")


@pytest.mark.clause("VERS-1")
@given(parsed, st.sampled_from(["", "v"]))
def test_a_version_is_read_back_from_what_it_prints(version: Version, prefix: str) -> None:
    assert Version.parse(f"{prefix}{version}") == version


@pytest.mark.clause("VERS-1")
@given(parsed)
def test_the_numbers_are_those_that_installers_read(version: Version) -> None:
    oracle = Oracle(str(version))
    assert (version.major, version.minor, version.patch or 0) == (
        *oracle.release[:2],
        oracle.micro,
    )


@pytest.mark.clause("VERS-2")
@given(st.lists(parsed, min_size=1, max_size=4))
def test_versions_are_comparable_exactly_if_no_pair_differs_in_major_or_minor(
    several: list[Version],
) -> None:
    """Holds for every order and every patch."""
    given_ = {str(index): str(version) for index, version in enumerate(several)}
    pairs = {(version.major, version.minor) for version in several}
    if len(pairs) == 1:
        (pair,) = pairs
        assert versions.check_comparable(given_) == f"v{pair[0]}.{pair[1]}"
    else:
        with pytest.raises(IncomparableVersions):
            versions.check_comparable(given_)


@pytest.mark.clause("VERS-5")
@given(installed, installed)
def test_an_exact_pin_is_satisfied_as_installers_decide(version: str, pin: str) -> None:
    expected = SpecifierSet(f"=={pin}").contains(version, prereleases=True)
    assert versions.same_release(version, pin) is expected


@pytest.mark.clause("VERS-4")
@given(names)
def test_names_are_normalised_as_by_the_package_index(name: str) -> None:
    assert versions.normal_name(name) == canonicalize_name(name)


@pytest.mark.clause("VERS-4")
@given(st.dictionaries(names.map(versions.normal_name), installed, max_size=6))
def test_a_written_list_of_pins_is_read_back(pins: dict[str, str]) -> None:
    text = "".join(f"{name}=={version}  # why\n\n" for name, version in pins.items())
    assert dict(versions.frozen_packages(text)) == pins
    assert list(versions.frozen_packages(text)) == list(pins)


@pytest.mark.clause("VERS-5")
@given(
    st.dictionaries(names.map(versions.normal_name), releases, max_size=6),
    st.dictionaries(names, installed, max_size=6),
)
def test_there_is_one_difference_per_package_that_is_missing_or_another_version(
    frozen: dict[str, str], found: dict[str, str]
) -> None:
    assume(len({versions.normal_name(name) for name in found}) == len(found))
    by_name = {canonicalize_name(name): version for name, version in found.items()}
    different = [
        name
        for name, pin in frozen.items()
        if name not in by_name or not SpecifierSet(f"=={pin}").contains(by_name[name])
    ]
    assert [sentence.split()[0] for sentence in versions.differences(found, frozen)] == different
    assert versions.differences(frozen, frozen) == []
