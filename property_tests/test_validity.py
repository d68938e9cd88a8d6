"""Laws of validity checks; ``packaging``, which installers use, judges the requirements too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from spec import validity
from spec.submission_functions import OPTIONAL_FUNCTIONS, REQUIRED_FUNCTIONS

OWN = [*REQUIRED_FUNCTIONS, *OPTIONAL_FUNCTIONS]
names = st.sampled_from([*OWN, *validity.FIXED_FUNCTIONS, "metrics", "_secret"])
numbers = st.sampled_from(["0", "1", "2", "10"])
releases = st.lists(numbers, min_size=2, max_size=4).map(".".join)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "~="])
specifiers = st.lists(
    st.builds(str.__add__, operators, releases)
    | st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), releases),
    max_size=3,
).map(",".join)
packages = st.sampled_from(["jax", "torch", "numpy"])
spaces = st.sampled_from(["", " ", "  "])
texts = st.text("ab=\n #", max_size=12)


@pytest.mark.clause("VALID-1")
@given(st.lists(names, max_size=8))
def test_a_replaced_function_is_a_problem_exactly_once_if_it_is_fixed(several: list[str]) -> None:
    found = [sentence.split()[0] for sentence in validity.check_functions(several)]
    assert len(found) == len(set(found))
    assert set(found) == set(several) - set(OWN)


@pytest.mark.clause("VALID-2")
@given(st.text(min_size=1, max_size=8))
def test_private_names_may_never_be_called(name: str) -> None:
    assert not validity.may_call(f"_{name}")
    assert validity.may_call(name.lstrip("_") or "a")


@pytest.mark.clause("VALID-21")
@given(packages, specifiers, releases, spaces)
def test_a_pinned_package_conflicts_exactly_if_installers_would_not_accept_the_pin(
    package: str, specifier: str, pin: str, space: str
) -> None:
    line = f"{package}{space}{specifier}"
    accepted = Requirement(line).specifier.contains(pin)
    found = validity.check_requirements(line, {package: pin})
    assert (found == []) == accepted
    assert all("conflicts with" in sentence for sentence in found)


@pytest.mark.clause("VALID-21", "VALID-22")
@given(st.lists(st.tuples(packages, specifiers, st.booleans()), max_size=5), releases)
def test_lines_are_judged_one_by_one(lines: list[tuple[str, str, bool]], pin: str) -> None:
    """Only ``jax`` is pinned; the others are additions, which need a comment."""
    pinned = {"jax": pin}
    written = [f"{name}{spec}{'  # why' if why else ''}" for name, spec, why in lines]
    alone = [validity.check_requirements(line, pinned) for line in written]
    together = validity.check_requirements("\n".join(written), pinned)
    assert together == [
        sentence.replace("line 1:", f"line {number}:")
        for number, sentences in enumerate(alone, start=1)
        for sentence in sentences
    ]
    for (name, _, why), sentences in zip(lines, alone, strict=True):
        if name != "jax":
            assert bool(sentences) is not why


@pytest.mark.clause("VALID-21")
@given(texts)
def test_no_text_at_all_makes_the_check_fail(text: str) -> None:
    number_of_lines = len(text.splitlines())
    for sentence in validity.check_requirements(text, {"a": "1"}):
        assert 1 <= int(sentence.split(":")[0].removeprefix("line ")) <= number_of_lines


variables = st.dictionaries(st.text("ABC", min_size=1, max_size=2), st.text("01", max_size=2))


@pytest.mark.clause("VALID-18")
@given(variables, variables)
def test_changes_of_the_environment_are_those_of_the_two_dictionaries(
    before: dict[str, str], after: dict[str, str]
) -> None:
    found = [sentence.split()[0] for sentence in validity.environment_changes(before, after)]
    assert found == sorted({name for name, _ in before.items() ^ after.items()})
    backwards = validity.environment_changes(after, before)
    assert [sentence.split()[0] for sentence in backwards] == found


files = st.lists(
    st.sampled_from(
        [
            "submission.py",
            "tuning_search_space.json",
            "requirements.txt",
            "a/tuning_search_space.json",
        ]
    ),
    unique=True,
)


@pytest.mark.clause("VALID-16", "VALID-17")
@given(files, st.sampled_from(["external", "self"]), st.booleans(), st.text("abc/.", min_size=1))
def test_further_files_never_change_the_verdict(
    several: list[str], tuning: str, needs_packages: bool, more: str
) -> None:
    before = validity.check_files(several, tuning, needs_packages=needs_packages)
    after = validity.check_files([*several, f"{more}.py"], tuning, needs_packages=needs_packages)
    assert after == before
    valid = (
        "submission.py" in several
        and sum(name.endswith("space.json") for name in several) == (tuning == "external")
        and (not needs_packages or "requirements.txt" in several)
    )
    assert (before == []) is valid
