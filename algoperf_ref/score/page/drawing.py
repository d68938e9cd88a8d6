"""Axes and lines as SVG: scales, round ticks, frames; numbers are short and always alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spec.book.elements import Html, element, join

NUM_COLOURS = 8
NUM_DASHES = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places on the drawing.

    Attributes:
      low: value at ``start``.
      high: value at ``end``.
      start: place, in units of the drawing.
      end: place; smaller than ``start`` on an axis that goes up.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def text(self) -> str:
        """For the script: start, end, low, high."""
        return f"{short(self.start)} {short(self.end)} {self.low:.6g} {self.high:.6g}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its value and its text."""

    value: float
    text: str


def short(place: float) -> str:
    """A place with a tenth of a unit, without needless zeros."""
    # Adding zero turns -0.0 into 0.0.
    return f"{round(place, 1) + 0.0:g}" if abs(place) < 1e5 else f"{place:.0f}"


def round_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten.

    Args:
      low: end of the axis.
      high: the other end, above ``low``.
      most: at most so many.

    Returns:
      The ticks in the range, ascending.
    """
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for factor in (1, 2, 5, 10) if (step := factor * power) >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [Tick(k * step, f"{k * step + 0.0:.{digits}f}") for k in range(first, last + 1)]


def points(places: Iterable[tuple[float, float]]) -> str:
    """Places as the ``points`` of a polyline."""
    return " ".join(f"{short(x)},{short(y)}" for x, y in places)


def staircase(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of a function that holds each value until the next place."""
    corners: list[tuple[float, float]] = []
    for x, y in steps:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def frame(x: Scale, y: Scale, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> Html:
    """Grid lines with their texts, without titles of the axes."""
    parts = []
    left, right, bottom, top = x.start, x.end, y.start, y.end
    for tick in y_ticks:
        at = y(tick.value)
        parts.append(_line(left, at, right, at, "grid"))
        parts.append(text(tick.text, left - 6, at + 4, "tick end"))
    for tick in x_ticks:
        at = x(tick.value)
        parts.append(_line(at, bottom, at, top, "grid"))
        parts.append(text(tick.text, at, bottom + 15, "tick middle"))
    parts.append(_line(left, bottom, right, bottom, "axis"))
    parts.append(_line(left, bottom, left, top, "axis"))
    return element("g", join(parts), aria_hidden="true")


def text(content: str, x: float, y: float, class_: str, turned: bool = False) -> Html:
    """A text; ``turned`` to be read from below."""
    turn = f"rotate(-90 {short(x)} {short(y)})" if turned else None
    return element("text", content, x=short(x), y=short(y), class_=class_, transform=turn)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return element("line", x1=short(x1), y1=short(y1), x2=short(x2), y2=short(y2), class_=class_)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """A straight line."""
    return _line(x1, y1, x2, y2, class_)


def style_of(number: int) -> str:
    """Classes of the line of a submission: a colour, then a dash as the colours repeat."""
    return f"s{number % NUM_COLOURS} d{number // NUM_COLOURS % NUM_DASHES}"


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves places so that none is nearer than ``gap`` to its neighbour.

    Args:
      places: wanted places, ascending.
      gap: between neighbours.
      low: none is moved below.
      high: none is moved above, as far as there is room.

    Returns:
      New places in the same order.
    """
    result: list[float] = []
    for place in places:
        result.append(max(place, result[-1] + gap if result else low))
    limit = max(high, low + gap * (len(result) - 1))
    for number in range(len(result) - 1, -1, -1):
        result[number] = min(result[number], limit)
        limit = result[number] - gap
    return result


def clean(name: str, most: int = 0) -> str:
    """A name without what XML does not allow, cut to ``most`` characters if that is not 0."""
    shown = "".join(
        c if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF else "\N{REPLACEMENT CHARACTER}"
        for c in name
    )
    return shown if not most or len(shown) <= most else shown[: most - 1] + "…"
