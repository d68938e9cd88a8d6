"""The diagrams of the clock and of a run, drawn from the explored state machines."""

from __future__ import annotations

import math

from spec.book import clock_states, run_states
from spec.book.drawing import Arrow, Box, draw
from spec.book.elements import Html, element, join, table
from spec.evaluation import EndReason
from spec.timing import ACCOUNT_OF_EVENT, Account, Event

_COLUMN = 260.0
"""Distance of the columns in the drawing of a run."""


def clock() -> Html:
    """The clock: states in a circle, arrows in the style of the account that is charged."""
    phases: list[Event | None] = [None, *Event]
    boxes: dict[Event | None, Box] = {}
    angles: dict[Event | None, float] = {}
    for number, phase in enumerate(phases):
        # From the top, clockwise.
        angle = math.pi / 2 - 2 * math.pi * number / len(phases)
        lines = _clock_lines(phase)
        boxes[phase] = Box(
            lines,
            270 * math.cos(angle),
            -190 * math.sin(angle),
            "state" if phase else "state first",
            width=max(110.0, 8.6 * max(len(line) for line in lines) + 24),
        )
        angles[phase] = math.degrees(angle)
    arrows = []
    for edge in clock_states.clock_edges():
        loop = edge.phase is edge.event
        arrows.append(
            Arrow(
                boxes[edge.phase],
                boxes[edge.event],
                bend=angles[edge.event] if loop else 16,
                class_=f"arrow {edge.account}",
                title=f"{_phase_name(edge.phase)} to {edge.event.value}: {edge.account}",
            )
        )
    drawing = draw(
        list(boxes.values()),
        arrows,
        name="clock",
        title="States of the clock",
        description="Every state is the event of the last reading; the table below says which "
        "event may follow and which account is charged.",
    )
    return _figure("clock", drawing, _legend())


def clock_table() -> Html:
    """The same as a table: rows are the events before, columns the events after."""
    legal = {(edge.phase, edge.event): edge.account for edge in clock_states.clock_edges()}
    rows = [
        [
            _phase_name(phase),
            *(
                element("span", legal[phase, event].value, class_=f"account {legal[phase, event]}")
                if (phase, event) in legal
                else element("span", "not possible", class_="never")
                for event in Event
            ),
        ]
        for phase in (None, *Event)
    ]
    head = ["last event", *(f"then {event.value}" for event in Event)]
    return table(head, rows, label="Which event may follow which, and the account charged")


def run() -> Html:
    """A run: states from left to right, the reasons to end in the last column."""
    edges = run_states.run_edges()
    boxes = _run_boxes(edges)
    arrows = []
    for number, edge in enumerate(edges, 1):
        start, end = boxes[edge.before], boxes[edge.after]
        if start is end:
            bend = 90.0
        elif end.x < start.x:  # back to the training, on either side of the straight arrows
            bend = -45.0 if start is boxes[run_states.TIME_CHECK] else 62.0
        elif end.x - start.x > 1.5 * _COLUMN:
            bend = 26.0 if end.y < 0 else -26.0  # past the column between them
        else:
            bend = -0.1 * end.y
        title = f"{number}: {edge.before} to {_words(edge.after)}: {edge.words}"
        arrows.append(Arrow(start, end, str(number), bend, title=title))
    drawing = draw(
        list(boxes.values()),
        arrows,
        name="run",
        title="States of a run",
        description="Training, time check and evaluation lead to each other or to one of the "
        "reasons to end; the list below says when each numbered arrow is taken.",
    )
    items = (
        element(
            "li",
            element("strong", f"{edge.before} → {_words(edge.after)}"),
            f": {edge.words}",
        )
        for edge in edges
    )
    return join([_figure("run", drawing), element("ol", *items, class_="edges")], "\n")


def _run_boxes(edges: tuple[run_states.RunEdge, ...]) -> dict[str, Box]:
    """Ends that are reached past the evaluation stand outside, so that no arrow crosses a box."""
    columns = (run_states.TRAINING, run_states.TIME_CHECK, run_states.EVALUATING)
    boxes = {
        name: Box((name,), _COLUMN * number, 0.0, "state first" if number == 0 else "state")
        for number, name in enumerate(columns)
    }
    past = {edge.after for edge in edges if edge.before == run_states.TIME_CHECK} - {*columns}
    reached = [reason.value for reason in EndReason if reason.value in {e.after for e in edges}]
    outside = [reason for reason in reached if reason in past]
    inside = [reason for reason in reached if reason not in past]
    ends = [*outside[:1], *inside, *outside[1:]]
    for number, reason in enumerate(ends):
        y = 92.0 * (number - (len(ends) - 1) / 2)
        boxes[reason] = Box((_words(reason),), _COLUMN * len(columns) + 30, y, "state end", 170.0)
    return boxes


def _legend() -> Html:
    items = (
        element(
            "li",
            element(
                "svg",
                element("g", element("path", d="M2,8 L46,8"), class_=f"arrow {account}"),
                width=48,
                height=16,
                viewBox="0 0 48 16",
                aria_hidden="true",
            ),
            f" {account.value}",
        )
        for account in Account
    )
    return join(["The account that the time is charged to:", element("ul", *items)])


def _figure(name: str, drawing: Html, caption: Html | None = None) -> Html:
    region = element(
        "div",
        drawing,
        class_="wide",
        role="region",
        aria_label=f"Diagram of the {name}",
        tabindex=0,
    )
    return element("figure", region, *([element("figcaption", caption)] if caption else []))


def _clock_lines(phase: Event | None) -> tuple[str, ...]:
    if phase is None:
        return (clock_states.START,)
    return (phase.value, f"charges {ACCOUNT_OF_EVENT[phase]}")


def _phase_name(phase: Event | None) -> str:
    return clock_states.START if phase is None else phase.value


def _words(state: str) -> str:
    return state.replace("_", " ")
