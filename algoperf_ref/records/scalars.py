"""Turning whatever a submission logs into plain Python numbers, whichever its framework."""

from __future__ import annotations

from typing import Any, TypeAlias

Scalar: TypeAlias = bool | int | float | str
"""What a cell of a log may hold; an empty cell is None."""

_LONGEST_INT_BITS = 1024  # Beyond this an integer exceeds every float, and soon str()'s limit.


class NotScalarError(ValueError):
    """The value is not one number (or text)."""


def as_scalar(value: Any) -> Scalar | None:
    """Returns the Python value of a scalar of any library.

    Args:
      value: None, a Python or numpy number, text, an array of one element on any device (anything
        with ``item()``), or an object with ``__float__``.

    Returns:
      bool, int, float or str; None stays None.

    Raises:
      NotScalarError: several elements, a complex number, an abstract value, any other object.
    """
    if value is None:
        return None
    if type(value) is float:  # first: by far the most common
        return value
    number: Scalar = value if type(value) in (bool, int) else _python_value(value)
    if type(number) is int and number.bit_length() > _LONGEST_INT_BITS:
        raise NotScalarError("an integer of more than 1024 bits")
    return number


def _python_value(value: Any) -> Scalar:
    if isinstance(value, str):
        return str(value)
    described = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (bytes, bytearray)):  # float() would parse them
        raise NotScalarError(f"a {described}")
    # Any exception may come out of a foreign item(): wrong size, deleted buffer, tracing.
    try:
        item = value.item() if hasattr(value, "item") else float(value)
    except Exception as error:
        raise NotScalarError(f"a {described}: {error}") from error
    for kind in (bool, int, float, str):
        if isinstance(item, kind):
            return kind(item)
    try:
        return float(item)  # numpy longdouble: its item() is itself
    except Exception as error:
        raise NotScalarError(f"a {described}") from error
