"""Command line of data preparation: prepare, convert, verify, list."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from algoperf_ref.data import datasets
from algoperf_ref.errors import UserError

# Exit statuses: something is wrong with the data; with the request or the environment; Ctrl-C.
_EXIT_PROBLEMS, _EXIT_USER_ERROR, _EXIT_INTERRUPTED = 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """The argument parser; options may be written with - or _."""
    top = argparse.ArgumentParser(
        prog="python -m algoperf_ref.data",
        description="Prepares, converts, checks and lists the data sets of the workloads.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        optional = "?" if name == "list" else None
        made.add_argument("dataset", choices=datasets.NAMES, nargs=optional)
        made.add_argument(
            "--data_dir", "--data-dir", required=True, type=Path, help="directory of all data sets"
        )
        return made

    prepare = command("prepare", "make a data set ready for training; repeat to resume")
    verify = command("verify", "read a prepared data set again and check it")
    for sub in (prepare, verify):
        sub.add_argument("--tier", required=True, choices=datasets.TIERS)
    prepare.add_argument(
        "--source", type=Path, help="full tier: folder of the existing preparation or raw download"
    )
    prepare.add_argument("--processes", type=int, help="workers (default: one per core)")
    convert = command(
        "convert",
        "convert to a quicker format: criteo1tb to binary columns, ogbg from tfrecord",
    )
    convert.add_argument("--source", type=Path, help="ogbg: folder of the tfrecord preparation")
    convert.add_argument("--tier", choices=datasets.TIERS, default="full")
    command("list", "show what is prepared where")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      Exit status: 0; 1 if `verify` found problems; 2 if the request cannot be met; 130 for Ctrl-C.
    """
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_USER_ERROR
    except OSError as error:
        # A full disk, a missing permission: nothing that a traceback would explain better.
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(
            "interrupted; nothing half-made counts as prepared, the same command goes on",
            file=sys.stderr,
        )
        return _EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.command == "list":
        return _list(options)
    # Imported late, so that --help and wrong arguments answer at once.
    commands = datasets.commands(options.dataset)
    source = getattr(options, "source", None)
    if source is not None and not source.exists():
        raise UserError(f"--source {source} does not exist")
    if options.command == "prepare":
        if options.processes is not None and options.processes < 1:
            raise UserError(f"--processes must be at least 1, not {options.processes}")
        commands.prepare(options.data_dir, options.tier, source=source, processes=options.processes)
    elif options.command == "convert":
        if not hasattr(commands, "convert"):
            raise UserError(f"{options.dataset} is read as it is: there is nothing to convert")
        commands.convert(options.data_dir, tier=options.tier, source=source)
    else:
        problems = commands.verify(options.data_dir, options.tier)
        for problem in problems:
            print(f"problem: {problem}")
        if problems:
            return _EXIT_PROBLEMS
        print(f"{options.dataset} {options.tier}: everything is as it should be")
    return 0


def _list(options: argparse.Namespace) -> int:
    names = datasets.NAMES if options.dataset is None else (options.dataset,)
    rows = [row for name in names for row in datasets.commands(name).listing(options.data_dir)]
    if not rows:
        print(f"nothing is prepared in {options.data_dir}")
    for row in rows:
        counts = ", ".join(f"{split} {count:,}" for split, count in row.examples.items())
        print(
            f"{row.dataset} {row.tier}: {row.state}; {counts or 'not counted yet'}; "
            f"{row.bytes / 1e6:.1f} MB in {row.place}"
        )
    return 0
