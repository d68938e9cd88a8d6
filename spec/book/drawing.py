"""Drawings of state machines as SVG: boxes, arrows that bend, and where they meet the boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spec.book.elements import Html, element, join

_ARROW = 9.0
_LOOP = 46.0


@dataclass(frozen=True, slots=True)
class Box:
    """A state.

    Attributes:
      lines: text in it, the first line is its name.
      x: of the centre.
      y: of the centre.
      class_: style.
      width: of the box.
      height: of the box.
    """

    lines: tuple[str, ...]
    x: float
    y: float
    class_: str = "state"
    width: float = 150.0
    height: float = 50.0

    def border(self, towards: tuple[float, float], gap: float = 0.0) -> tuple[float, float]:
        """Where a ray from the centre leaves the box, ``gap`` outside of it."""
        across, down = towards[0] - self.x, towards[1] - self.y
        length = math.hypot(across, down) or 1.0
        reach = min(
            (self.width / 2) / abs(across) if across else math.inf,
            (self.height / 2) / abs(down) if down else math.inf,
        )
        scale = min(reach, 1.0) + gap / length
        return self.x + across * scale, self.y + down * scale


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from a box to a box.

    Attributes:
      start: the box that it leaves.
      end: the box that it enters; the same for a loop.
      label: shown on it; empty for none.
      bend: how far it swings to its left, in units of the drawing; of a loop the direction in
        degrees, 0 to the right and 90 upwards.
      class_: style.
      title: what it says when pointed at, and to a screen reader.
    """

    start: Box
    end: Box
    label: str = ""
    bend: float = 0.0
    class_: str = "arrow"
    title: str = ""


def draw(
    boxes: Sequence[Box], arrows: Sequence[Arrow], *, name: str, title: str, description: str
) -> Html:
    """Draws boxes and arrows.

    Args:
      boxes: the states.
      arrows: the ways between them.
      name: prefix of the ids in the drawing, unique on its page.
      title: what the drawing is.
      description: what it shows, in words.

    Returns:
      An ``svg`` element, as large as it needs to be.
    """
    paths = [_path(arrow) for arrow in arrows]
    points = [point for path in paths for point in path.points]
    for box in boxes:
        points.append((box.x - box.width / 2, box.y - box.height / 2))
        points.append((box.x + box.width / 2, box.y + box.height / 2))
    margin = 14.0
    left, top = (min(point[axis] for point in points) - margin for axis in (0, 1))
    right, bottom = (max(point[axis] for point in points) + margin for axis in (0, 1))
    content = [
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-description"),
        *(_arrow(arrow, path) for arrow, path in zip(arrows, paths, strict=True)),
        *(_box(box) for box in boxes),
        # Above everything else: a label that an arrow crosses could not be read.
        *(_label(arrow, path) for arrow, path in zip(arrows, paths, strict=True) if arrow.label),
    ]
    width, height = right - left, bottom - top
    return element(
        "svg",
        join(content, "\n"),
        viewBox=f"{left:.1f} {top:.1f} {width:.1f} {height:.1f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-description",
        class_="diagram",
    )


@dataclass(frozen=True, slots=True)
class _Path:
    """A curve: its SVG text, points that lie around it, its middle and the end's direction."""

    text: str
    points: tuple[tuple[float, float], ...]
    middle: tuple[float, float]
    tip: tuple[float, float]
    angle: float


def _path(arrow: Arrow) -> _Path:
    return _loop(arrow) if arrow.start is arrow.end else _curve(arrow)


def _curve(arrow: Arrow) -> _Path:
    start, end = arrow.start, arrow.end
    across, down = end.x - start.x, end.y - start.y
    length = math.hypot(across, down)
    # To the left of somebody who walks along the arrow; y grows downwards.
    control = (
        (start.x + end.x) / 2 + 2 * arrow.bend * down / length,
        (start.y + end.y) / 2 - 2 * arrow.bend * across / length,
    )
    first = start.border(control)
    tip = end.border(control, gap=2.0)
    angle = math.atan2(tip[1] - control[1], tip[0] - control[0])
    last = tip[0] - _ARROW * math.cos(angle), tip[1] - _ARROW * math.sin(angle)
    middle = tuple(first[axis] / 4 + control[axis] / 2 + last[axis] / 4 for axis in (0, 1))
    return _Path(
        f"M{_point(first)} Q{_point(control)} {_point(last)}",
        (first, tip, (middle[0], middle[1])),
        (middle[0], middle[1]),
        tip,
        angle,
    )


def _loop(arrow: Arrow) -> _Path:
    box = arrow.start
    direction = math.radians(arrow.bend)
    spread = math.radians(24)
    ends = []
    for turn in (spread, -spread):
        ray = direction + turn
        towards = (box.x + 1000 * math.cos(ray), box.y - 1000 * math.sin(ray))
        ends.append(box.border(towards, gap=2.0 if turn < 0 else 0.0))
    out = (math.cos(direction), -math.sin(direction))
    side = (-out[1], out[0])
    # Control points outside of the box, spread a little, make a drop.
    controls = [
        (
            end[0] + _LOOP * out[0] + sign * 10 * side[0],
            end[1] + _LOOP * out[1] + sign * 10 * side[1],
        )
        for end, sign in zip(ends, (-1, 1), strict=True)
    ]
    first, tip = ends
    angle = math.atan2(tip[1] - controls[1][1], tip[0] - controls[1][0])
    last = tip[0] - _ARROW * math.cos(angle), tip[1] - _ARROW * math.sin(angle)
    middle = (
        (first[0] + 3 * controls[0][0] + 3 * controls[1][0] + last[0]) / 8,
        (first[1] + 3 * controls[0][1] + 3 * controls[1][1] + last[1]) / 8,
    )
    text = f"M{_point(first)} C{_point(controls[0])} {_point(controls[1])} {_point(last)}"
    return _Path(text, (first, tip, middle), middle, tip, angle)


def _arrow(arrow: Arrow, path: _Path) -> Html:
    wings = [
        (
            path.tip[0] - _ARROW * math.cos(path.angle + turn),
            path.tip[1] - _ARROW * math.sin(path.angle + turn),
        )
        for turn in (0.42, -0.42)
    ]
    corners = " ".join(_point(point) for point in (path.tip, *wings))
    parts = [
        *([element("title", arrow.title)] if arrow.title else []),
        element("path", d=path.text),
        element("polygon", points=corners),
    ]
    return element("g", *parts, class_=arrow.class_)


def _box(box: Box) -> Html:
    frame = element(
        "rect",
        x=f"{box.x - box.width / 2:.1f}",
        y=f"{box.y - box.height / 2:.1f}",
        width=f"{box.width:.1f}",
        height=f"{box.height:.1f}",
        rx=10,
    )
    lines = []
    for number, line in enumerate(box.lines):
        below = 17.0 * (number - (len(box.lines) - 1) / 2) + 5.0
        style = "name" if number == 0 else "note"
        lines.append(
            element("text", line, x=f"{box.x:.1f}", y=f"{box.y + below:.1f}", class_=style)
        )
    return element("g", frame, *lines, class_=box.class_)


def _label(arrow: Arrow, path: _Path) -> Html:
    x, y = path.middle
    return element(
        "g",
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=11),
        element("text", arrow.label, x=f"{x:.1f}", y=f"{y + 4.5:.1f}"),
        class_="label",
    )


def _point(point: tuple[float, float]) -> str:
    # Adding zero turns -0.0 into 0.0.
    return f"{round(point[0], 1) + 0.0:.1f},{round(point[1], 1) + 0.0:.1f}"
