"""Tables of the data of the rules: one row per field, what differs is highlighted."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from spec import dropout, rulesets, tiers, workloads
from spec.book.elements import Html, element, join, table, text
from spec.book.markup import Linker, inline, plain, section
from spec.clauses import VERSIONS
from spec.tiers import Tier
from spec.workload_table import BASES
from spec.workloads import WorkloadSpec

ABSENT = "–"


def value(content: object) -> Html:
    """A value as it is read: numbers in full, collections as lists, None as a dash."""
    match content:
        case None:
            return element("span", ABSENT, class_="none", title="none")
        case bool():
            return text("yes" if content else "no")
        case enum.Enum():
            return _breakable(content.value if isinstance(content.value, str) else content.name)
        case str():
            return text(content)
        case int() | float():
            return element("span", str(content), class_="number")
        case Mapping():
            items = [join([value(key), ": ", value(inner)]) for key, inner in content.items()]
            return join(items, ", ") if items else value(None)
        case tuple() | list():
            return join([value(inner) for inner in content], ", ") if content else value(None)
    return element("code", str(content))


def documentation(record: type) -> dict[str, str]:
    """What the docstring of a class says about its attributes, by name."""
    return {item.name: item.prose for item in section(inspect.getdoc(record) or "", "Attributes")}


def fields_table(
    records: Mapping[str, Any], *, label: str, linker: Linker = plain, compare: bool = True
) -> Html:
    """Records of one class side by side.

    Args:
      records: frozen dataclasses by the title of their column.
      label: what the table is.
      linker: makes links of names in the explanations.
      compare: highlight the fields that are not the same in all columns.

    Returns:
      One row per field, with the explanation that the docstring of the class gives it.

    Raises:
      TypeError: not dataclasses.
    """
    first = next(iter(records.values()))
    if not is_dataclass(first):
        raise TypeError(f"{type(first).__name__} is not a dataclass")
    explained = documentation(type(first))
    rows: list[Sequence[str]] = []
    marked: list[int] = []
    for number, field in enumerate(fields(first)):
        contents = [getattr(record, field.name) for record in records.values()]
        rows.append([_field(field.name, explained, linker), *map(value, contents)])
        if compare and any(content != contents[0] for content in contents):
            marked.append(number)
    return table(["field", *records], rows, label=label, class_="fields", marked=marked)


def ruleset_table(linker: Linker = plain) -> Html:
    """Every constant of every version of the rules."""
    return fields_table(rulesets.RULESETS, label="Constants of every version", linker=linker)


def workload_overview() -> Html:
    """One row per base workload of the current version."""
    columns: dict[str, Callable[[WorkloadSpec], object]] = {
        "data set": lambda row: row.dataset,
        "model": lambda row: row.model,
        "metric": lambda row: row.target_metric_name,
        "better": lambda row: row.direction,
        "validation target": lambda row: row.validation_target_value,
        "test target": lambda row: row.test_target_value,
        "budget (s)": lambda row: row.max_allowed_runtime_sec,
        "steps": lambda row: row.step_hint,
    }
    rows = []
    for name in workloads.names("base"):
        row = workloads.get(name)
        cells = (value(content(row)) for content in columns.values())
        rows.append([element("a", name, href=f"#{name}"), *cells])
    return table(["workload", *columns], rows, label=f"The {len(rows)} base workloads")


def version_table() -> Html:
    """The fields of base workloads that are not the same in all versions."""
    rows = []
    for name in workloads.names("base"):
        by_version = [workloads.get(name, version) for version in VERSIONS]
        for field in fields(WorkloadSpec):
            contents = [getattr(row, field.name) for row in by_version]
            if any(content != contents[0] for content in contents):
                title = join([name, " ", element("code", field.name)])
                rows.append([title, *map(value, contents)])
    return table(["workload and field", *VERSIONS], rows, label="What differs between versions")


def variants_table(base: str, linker: Linker = plain) -> Html:
    """A base workload and its variants; highlighted is what a variant changes."""
    names = [name for name in workloads.names() if workloads.base_name(name) == base]
    records = {name: workloads.get(name) for name in names}
    explained = documentation(WorkloadSpec)
    rows: list[Sequence[str]] = []
    for field in fields(WorkloadSpec):
        if field.name in ("model_config", "model_overrides", "name", "base_name"):
            continue
        contents = [getattr(record, field.name) for record in records.values()]
        rows.append([_field(field.name, explained, linker), *_compared(contents)])
    keys = dict.fromkeys(key for record in records.values() for key in record.model_config)
    for key in keys:
        contents = [record.model_config.get(key) for record in records.values()]
        rows.append([element("code", key), *_compared(contents)])
    return table(
        ["field", *map(_breakable, names)], rows, label=f"{base} and its variants", class_="fields"
    )


def dropout_table() -> Html:
    """Default rates: workloads by kind of place."""
    kinds = list(dropout.DropoutKind)
    rows = []
    for name in BASES:
        defaults = dropout.DEFAULTS[name]
        rows.append([name, *(_rate(defaults.get(kind)) for kind in kinds)])
    head = ["workload", *(kind.value.replace("_", " ") for kind in kinds)]
    return table(head, rows, label="Default dropout rates")


def tier_table(base: str, linker: Linker = plain) -> Html:
    """The full and the mini tier of a workload."""
    records = {f"{base}, {tier}": tiers.get(base, tier) for tier in Tier}
    return fields_table(records, label=f"{base} in both tiers", linker=linker)


def mini_bases() -> tuple[str, ...]:
    """The base workloads that exist in the mini tier."""
    return tuple(name for name in BASES if name in tiers.names(Tier.MINI))


def mini_targets_table() -> Html:
    """Targets of the workloads of the mini tier, beside those of the full tier."""
    rows = []
    for name in tiers.names(Tier.MINI):
        by_tier = [tiers.get(name, tier) for tier in Tier]
        targets = [(row.validation_target_value, row.test_target_value) for row in by_tier]
        rows.append([name, *(value(target) for pair in targets for target in pair)])
    head = [f"{tier}, {split}" for tier in Tier for split in ("validation", "test")]
    return table(["workload", *head], rows, label="Targets in both tiers")


def _field(name: str, explained: Mapping[str, str], linker: Linker) -> Html:
    title = element("code", name)
    if name not in explained:
        return title
    return join([title, " ", element("span", inline(explained[name], linker), class_="about")])


def _breakable(name: str) -> Html:
    """A long name may go on in the next line after an underscore."""
    return join(name.split("_"), Html("_<wbr>"))


def _compared(contents: Sequence[object]) -> list[Html]:
    """Cells of a row; those that differ from the first are marked."""
    return [
        value(content) if content == contents[0] else element("mark", value(content))
        for content in contents
    ]


def _rate(default: dropout.DropoutDefault | None) -> Html:
    if default is None:
        return value(None)
    notes = ["fixed"] * default.fixed + ["auxiliary before v0.6"] * default.auxiliary
    note = element("span", ", ".join(notes), class_="about") if notes else text("")
    return join([value(default.rate), " ", note])
