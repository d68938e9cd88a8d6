"""A headless Chromium of the system, for the pages that this project writes.

Playwright's own browsers are not used: they would have to be downloaded, and the test should need
the network no more than the pages do. ``python -m conformance_tests.support.browser`` prints the
executable, or says how to install one; `nox -s browser` asks it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

VARIABLE = "CHROMIUM"
"""Environment variable that names the browser's executable."""

NAMES: tuple[str, ...] = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Executables that are looked for on the path."""

HOW_TO_INSTALL = (
    "no Chromium found: install it, for example by `apt-get install chromium`, "
    f"or set {VARIABLE} to the executable of a Chromium or Chrome"
)


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine; the message says how to get one."""


def find_chromium() -> Path | None:
    """The executable named by :data:`VARIABLE`, else the first of :data:`NAMES` on the path.

    Returns:
      The executable, or None. If the variable is set it alone counts.
    """
    named = os.environ.get(VARIABLE)
    for name in (named,) if named else NAMES:
        if found := shutil.which(name):
            return Path(found)
    return None


def chromium() -> Path:
    """The same as :func:`find_chromium`.

    Raises:
      NoBrowser: there is none.
    """
    found = find_chromium()
    if found is None:
        named = os.environ.get(VARIABLE)
        raise NoBrowser(f"{VARIABLE} is {named!r}; {HOW_TO_INSTALL}" if named else HOW_TO_INSTALL)
    return found


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium, which is closed at the end.

    Raises:
      NoBrowser: there is none.
    """
    from playwright.sync_api import sync_playwright

    executable = chromium()
    # Chromium refuses its sandbox to root, as whom containers run; only our own files are opened.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable, headless=True, chromium_sandbox=not root
        )
        try:
            yield running
        finally:
            running.close()


@dataclass
class Complaints:
    """What went wrong on a page; empty if all is well.

    Attributes:
      console: errors and warnings that were written to the console.
      errors: exceptions that no script has caught.
      failed: addresses that could not be loaded.
      network: addresses that are no files, each refused before it left the machine.
    """

    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        """All of them, in no particular order."""
        return [*self.console, *self.errors, *self.failed, *self.network]


@contextlib.contextmanager
def page(
    running: Browser, *, dark: bool = False, width: int = 1280
) -> Iterator[tuple[Page, Complaints]]:
    """A page that can open files only.

    Args:
      running: the browser.
      dark: whether the reader prefers dark colours.
      width: of the window.

    Yields:
      The page, and what goes wrong on it from now on.
    """
    context = running.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
    )
    complaints = Complaints()

    def guard(route: Route) -> None:
        address = route.request.url
        if address.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            complaints.network.append(address)
            route.abort()

    def failed(request: Request) -> None:
        complaints.failed.append(f"{request.url}: {request.failure}")

    context.set_offline(True)
    context.route("**/*", guard)
    try:
        new = context.new_page()
        new.on("pageerror", lambda error: complaints.errors.append(str(error)))
        new.on("requestfailed", failed)
        new.on(
            "console",
            lambda message: (
                complaints.console.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        yield new, complaints
    finally:
        context.close()


if __name__ == "__main__":
    try:
        print(chromium())
    except NoBrowser as error:
        sys.exit(f"error: {error}")
