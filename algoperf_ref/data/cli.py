"""Command line of data preparation: prepare, convert, verify, list."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from algoperf_ref.data.ogbg.layout import DATASET, TIERS
from algoperf_ref.errors import UserError

# Exit statuses: something is wrong with the data; with the request or the environment; Ctrl-C.
_EXIT_PROBLEMS, _EXIT_USER_ERROR, _EXIT_INTERRUPTED = 1, 2, 130

DATASETS = (DATASET,)


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
        made.add_argument("dataset", choices=DATASETS, nargs="?" if name == "list" else None)
        made.add_argument(
            "--data_dir", "--data-dir", required=True, type=Path, help="directory of all data sets"
        )
        return made

    prepare = command("prepare", "make a data set ready for training; repeat to resume")
    verify = command("verify", "read a prepared data set again and check it")
    for sub in (prepare, verify):
        sub.add_argument("--tier", required=True, choices=TIERS)
    prepare.add_argument(
        "--source", type=Path, help="full tier: folder of the existing preparation or raw download"
    )
    prepare.add_argument(
        "--processes", type=int, help="mini tier: worker processes (default: one per core)"
    )
    convert = command("convert", "convert a tfds preparation from tfrecord to array_record")
    convert.add_argument("--source", type=Path, required=True, help="folder of the preparation")
    convert.add_argument("--tier", choices=("full",), default="full")
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
    # Imported late, so that --help and wrong arguments answer at once.
    from algoperf_ref.data.ogbg import prepare, verify

    if options.command == "prepare":
        if options.processes is not None and options.processes < 1:
            raise UserError(f"--processes must be at least 1, not {options.processes}")
        if options.source is not None and not options.source.exists():
            raise UserError(f"--source {options.source} does not exist")
        prepare.prepare(
            options.data_dir, options.tier, source=options.source, processes=options.processes
        )
    elif options.command == "convert":
        prepare.convert(options.data_dir, source=options.source)
    elif options.command == "verify":
        problems = verify.verify(options.data_dir, options.tier)
        for problem in problems:
            print(f"problem: {problem}")
        if problems:
            return _EXIT_PROBLEMS
        print(f"{options.dataset} {options.tier}: everything is as it should be")
    else:
        rows = verify.listing(options.data_dir)
        if not rows:
            print(f"nothing is prepared in {options.data_dir}")
        for row in rows:
            counts = ", ".join(f"{split} {count:,}" for split, count in row.graphs.items())
            print(
                f"{DATASET} {row.tier}: {row.state}; {counts or 'not packed'}; "
                f"{row.bytes / 1e6:.1f} MB in {row.place}"
            )
    return 0
