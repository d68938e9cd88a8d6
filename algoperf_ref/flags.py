"""How the command-line programs read flags: ``-`` or ``_`` in names, switches as true or false."""

from __future__ import annotations

import argparse
from collections.abc import Container, Sequence


def normalised(arguments: Sequence[str], switches: Container[str] = ()) -> list[str]:
    """Lets flags be written with ``-`` or ``_``, with one dash or two, and as ``--noflag``.

    Args:
      arguments: of a command line, without the program.
      switches: names of the flags that are true or false, with ``_``.

    Returns:
      The same arguments with flags as ``--some_flag`` or ``--some_flag=value``; ``--no-flag`` does
      what ``--noflag`` does.
    """
    result = []
    for argument in arguments:
        if argument.startswith("-") and len(argument) > 2 and not argument[1].isdigit():
            name, equals, value = argument.lstrip("-").partition("=")
            name = name.replace("-", "_")
            for prefix in ("no_", "no"):
                rest = name.removeprefix(prefix)
                if rest != name and rest in switches and not equals:
                    name, equals, value = rest, "=", "false"
            argument = f"--{name}{equals}{value}"
        result.append(argument)
    return result


def switch(text: str) -> bool:
    """Reads the value of a switch; the ``type`` of its argparse argument.

    Raises:
      argparse.ArgumentTypeError: neither true nor false.
    """
    values = {"true": True, "t": True, "1": True, "yes": True}
    values |= {"false": False, "f": False, "0": False, "no": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return values[text.lower()]
