"""Children of a study: how they end, and that nothing of them stays."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from algoperf_ref.studies.processes import Children, followed


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
def test_the_exit_code_tells_how_a_child_ended(code: str, expected: int, tmp_path: Path) -> None:
    assert Children().run(python(code), tmp_path / "console.log") == expected


def test_all_that_a_child_prints_is_added_to_its_file(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    for number in range(2):
        Children().run(
            python(f"import os; os.write(1, b'out{number} '); os.write(2, b'err ')"), console
        )
    assert console.read_text() == "out0 err out1 err "


def test_a_child_has_no_standard_input(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    assert Children().run(python("print(repr(input('?')))"), console) == 1
    assert "EOFError" in console.read_text()


def test_what_a_crashed_child_leaves_behind_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(worker.pid, flush=True)\n"
        "os.abort()"
    )
    assert Children().run(python(code), tmp_path / "console.log") == -signal.SIGABRT
    pid = int((tmp_path / "console.log").read_text())
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 10)


def test_a_signal_is_handed_on_once_and_no_child_starts_any_more(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "try:\n"
        "    print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('told', flush=True); raise SystemExit(5)"
    )
    children, console, codes = Children(), tmp_path / "console.log", []
    thread = threading.Thread(target=lambda: codes.append(children.run(python(code), console)))
    with children.signals_handed_on():
        thread.start()
        wait_for(lambda: console.exists() and "up" in console.read_text())
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does, but to this process alone
        thread.join(timeout=20)
    assert codes == [5]
    assert console.read_text().splitlines() == ["up", "told"]
    assert children.signal == signal.SIGINT
    assert children.run(python("print('no')"), console) is None


def test_a_second_signal_kills_a_child_that_does_not_end(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('ignored', flush=True))\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(1)"
    )
    children, console, codes = Children(), tmp_path / "console.log", []
    thread = threading.Thread(target=lambda: codes.append(children.run(python(code), console)))
    thread.start()
    wait_for(lambda: console.exists() and "up" in console.read_text())
    children.stop(signal.SIGTERM)
    wait_for(lambda: "ignored" in console.read_text())
    children.stop(signal.SIGTERM)
    thread.join(timeout=20)
    assert codes == [-signal.SIGKILL]


def test_signal_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Children().signals_handed_on():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_followed_file_is_shown_from_where_it_was(tmp_path: Path) -> None:
    path, shown = tmp_path / "console.log", io.StringIO()
    path.write_text("before\n")
    with followed(path, shown), path.open("a") as file:
        file.write("during\n")
    assert shown.getvalue() == "during\n"
    with followed(tmp_path / "not_there.log", shown):
        pass
    with followed(path, None), path.open("a") as file:
        file.write("unseen\n")
    assert shown.getvalue() == "during\n"
