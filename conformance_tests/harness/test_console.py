"""What a person sees: a table, plain lines without a terminal, one summary."""

from __future__ import annotations

import io
from typing import Any

from algoperf_ref.harness.console import Console
from conformance_tests.support.fakes import METRIC, ROW, FakeWorkload, fake_trial
from spec.evaluation import Goal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: Any, **settings: Any) -> str:
    trial = fake_trial(observer=Console(stream), title="ogbg, trial 1", **settings)
    trial.run()
    return str(stream.getvalue())


def test_without_a_terminal_there_are_plain_lines_and_a_row_per_evaluation() -> None:
    text = shown(io.StringIO())
    assert "\r" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "ogbg, trial 1"
    assert f"validation {METRIC} >= 0.5, test >= 0.5; budget 100 s" in lines[1]
    assert lines[3].split() == ["1", "1.00", "0.00", "0.01000", "0.01000", "0.01000"]
    assert lines[-1].split()[:2] == ["51", "51.00"]
    assert len(lines) == 3 + 6


def test_on_a_terminal_the_bar_shows_step_rate_time_and_metrics() -> None:
    stream = Terminal()
    console = Console(stream)
    console.started("title", Goal(METRIC, ROW.direction, 0.5, 0.5), 100.0, 0)
    assert console.wants_step(1)
    console.stepped(1, 2.0)
    assert not console.wants_step(2)  # not redrawn at every step
    console.evaluated(
        1,
        {
            f"validation/{METRIC}": 0.25,
            "accumulated_submission_time": 2.0,
            "accumulated_eval_time": 1.0,
        },
    )
    console._next_refresh = 0.0
    console.stepped(3, 50.0)
    text = stream.getvalue()
    assert "step 3" in text
    assert "steps/s, 50.0 s" in text
    assert "validation 0.2500 (best 0.2500, target 0.5)" in text
    assert "50%" in text


def test_minimised_metrics_show_their_direction_and_best_value() -> None:
    from spec.workloads import Direction

    stream = io.StringIO()
    console = Console(stream)
    console.started("title", Goal("loss", Direction.MINIMIZE, 0.5, None), 100.0, 0)
    times = {"accumulated_submission_time": 1.0, "accumulated_eval_time": 1.0}
    for value in (0.9, 0.7, 0.8):
        console.evaluated(1, {"validation/loss": value, **times})
    assert console._best == 0.7
    text = stream.getvalue()
    assert "validation loss <= 0.5;" in text
    assert text.splitlines()[-1].split()[3:] == ["-", "0.80000", "-"]


def test_a_workload_that_trains_shows_nothing_to_a_quiet_observer(capsys: Any) -> None:
    fake_trial(FakeWorkload()).run()
    assert capsys.readouterr() == ("", "")
