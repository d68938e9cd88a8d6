"""The performance profile as a PNG, by matplotlib, which the core install does not have."""

from __future__ import annotations

import io
import re
import warnings

from algoperf_ref.score.page import assets
from algoperf_ref.score.page.drawing import NUM_COLOURS, NUM_DASHES, apart, clean
from algoperf_ref.score.page.profile_plot import X_TITLE, Y_TITLE
from algoperf_ref.score.result import ScoreReport

_DASHES = ("solid", "dashed", "dotted", "dashdot")
_COLOUR = re.compile(r"--s(\d): (#[0-9a-f]{6})")
_GAP = 0.047


class NoMatplotlib(ImportError):
    """Matplotlib is not installed."""


def profile_picture(report: ScoreReport) -> bytes:
    """Returns ``performance_profile.png``.

    Raises:
      NoMatplotlib: the message says how to install it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib("it needs matplotlib (pip install 'algoperf-ref[report]')") from error
    # Those of the SVG; the colours for light paper come first in its style.
    colours = [colour for _, colour in _COLOUR.findall(assets.read("plots.css"))[:NUM_COLOURS]]
    board = report.leaderboard
    names = list(board.scores)
    figure = Figure(figsize=(8.6, max(4.2, 0.3 * len(names))), dpi=120, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = []
    for number, name in reversed(list(enumerate(names))):
        taus, shares = zip(*board.steps(name), strict=True)
        colour, dash = colours[number % NUM_COLOURS], _DASHES[number // NUM_COLOURS % NUM_DASHES]
        axes.step(taus, shares, where="post", linewidth=2, color=colour, linestyle=dash)
        ends.append((shares[-1], number))
    ends.sort(key=lambda end: (end[0], -end[1]))  # from below; the better rank is above
    places = apart([share for share, _ in ends], _GAP, 0.0, 1.0)
    r_max = report.settings.ruleset.r_max
    for (_, number), at in zip(ends, places, strict=True):
        label = f"{clean(names[number], 24)} {report.scores[names[number]]:.3f}"
        colour = colours[number % NUM_COLOURS]
        # A name is text, not a formula, whatever signs are in it.
        written = axes.text(r_max + 0.04, at, label, va="center", color=colour, fontsize=9)
        written.set_parse_math(False)
    axes.set(xlabel=X_TITLE, ylabel=Y_TITLE, xlim=(1, r_max), ylim=(-0.02, 1.02))
    axes.grid(visible=True, color="#dcd9d1", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Signs that the font does not have become boxes; the SVG has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
