"""The diagrams of the rule book say what the rules do, over all their inputs."""

from __future__ import annotations

import itertools

import pytest

from conformance_tests.support.pages import parse
from spec.book import clock_states, diagrams, run_states
from spec.book.run_states import TRAINING, Situation
from spec.evaluation import EndReason, Progress
from spec.timing import Account, Clock, Event, IllegalEvent


@pytest.mark.clause("TIM-1", "TIM-2")
@pytest.mark.parametrize("phase", [None, *Event])
@pytest.mark.parametrize("event", list(Event))
def test_the_clock_does_what_its_diagram_says(phase: Event | None, event: Event) -> None:
    edges = [e for e in clock_states.clock_edges() if (e.phase, e.event) == (phase, event)]
    before = Clock(0, 0, 0, 0, phase)
    if not edges:
        with pytest.raises(IllegalEvent):
            before.advance(event, 1.0)
        return
    after = before.advance(event, 1.0)
    charged = {account: getattr(after, f"{account}_seconds") for account in Account}
    assert charged == {account: float(account is edges[0].account) for account in Account}
    assert len(edges) == 1


def test_the_words_of_every_edge_say_when_it_is_taken() -> None:
    visited = 0
    for situation, states in run_states.explore():
        taken = set(itertools.pairwise(states))
        for edge in run_states.EDGES:
            if edge.before in states[:-1]:
                expected = (edge.before, edge.after) in taken
                assert edge.holds(situation) == expected, (edge.words, situation, states)
                visited += 1
    assert visited > len(run_states.EDGES)


def test_from_every_state_exactly_one_edge_is_taken() -> None:
    for situation, states in run_states.explore():
        for before in states[:-1]:
            ways = [e for e in run_states.EDGES if e.before == before and e.holds(situation)]
            assert len(ways) == 1, (before, situation)


def test_all_states_of_knowledge_are_visited_and_every_reason_to_end() -> None:
    before = set()
    ends = set()
    for situation, states in run_states.explore():
        known = situation.before
        before.add(
            (
                known.validation_goal_reached,
                known.test_goal_reached,
                known.failed_evaluations_in_row,
                known.last_evaluation_end_seconds is not None,
            )
        )
        ends.add(states[-1])
    assert ends == {TRAINING, *EndReason}
    # None or one of the targets reached, up to two failures, and the start before all of them.
    after_evaluation = {
        (*reached, failures, True)
        for reached in ((False, False), (True, False), (False, True))
        for failures in range(3)
    }
    assert before == {(False, False, 0, False), *after_evaluation}


def test_all_edges_of_the_run_are_taken() -> None:
    assert run_states.run_edges() == run_states.EDGES


def test_an_edge_without_words_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = tuple(edge for edge in run_states.EDGES if edge.after != EndReason.OUT_OF_TIME)
    monkeypatch.setattr(run_states, "EDGES", fewer)
    with pytest.raises(run_states.UnexplainedEdge, match="from time check to out_of_time"):
        run_states.run_edges()


def test_an_edge_that_the_rules_never_take_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    never = run_states.RunEdge(TRAINING, EndReason.STEP_LIMIT, "never", lambda s: False)
    monkeypatch.setattr(run_states, "EDGES", (*run_states.EDGES, never))
    assert never not in run_states.run_edges()


def test_a_run_without_evaluations_is_explored_too() -> None:
    situation = Situation(Progress(), False, False, True, False, True, "both targets")
    states, _ = run_states.path(situation)
    assert states == (TRAINING, run_states.TIME_CHECK, EndReason.OUT_OF_TIME)


def test_every_edge_is_drawn_and_explained() -> None:
    tree = parse(str(diagrams.run()))
    arrows = [g for g in tree.all("g") if (g.attributes["class"] or "").startswith("arrow")]
    explained = [" ".join(item.text.split()) for item in tree.all("ol")[0].all("li")]
    labels = [g.text for g in tree.all("g") if (g.attributes["class"] or "").split()[0] == "label"]
    assert labels == [str(number) for number in range(1, len(run_states.EDGES) + 1)]
    assert len(arrows) == len(explained) == len(run_states.EDGES)
    for edge, text in zip(run_states.EDGES, explained, strict=True):
        assert text.startswith(f"{edge.before} → {edge.after.replace('_', ' ')}")
        assert edge.words in text


def test_the_drawing_of_the_clock_has_an_arrow_per_legal_step() -> None:
    tree = parse(str(diagrams.clock())).all("svg")[0]
    classes = [(g.attributes["class"] or "").split() for g in tree.all("g")]
    drawn = sorted(names[1] for names in classes if names[0] == "arrow")
    assert drawn == sorted(edge.account.value for edge in clock_states.clock_edges())
    cells = [cell for row in parse(str(diagrams.clock_table())).rows()[1:] for cell in row[1:]]
    assert cells.count("not possible") == len(cells) - len(drawn)


@pytest.mark.parametrize("drawing", [diagrams.clock, diagrams.run])
def test_boxes_do_not_overlap(drawing: object) -> None:
    assert callable(drawing)
    boxes = [
        [float(node.attributes[name] or 0) for name in ("x", "y", "width", "height")]
        for node in parse(str(drawing())).all("rect")
    ]
    assert len(boxes) > 4
    for (x, y, width, height), (x2, y2, width2, height2) in itertools.combinations(boxes, 2):
        apart = x + width < x2 or x2 + width2 < x or y + height < y2 or y2 + height2 < y
        assert apart
