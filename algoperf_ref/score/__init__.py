"""From logs to times to target, ratios and scores; needs numpy and the standard library only.

Finding (:mod:`.sources`, :mod:`.logs`), reading (:mod:`.rows`, :mod:`.trials`, :mod:`.reading`),
computing (:mod:`.studies`, :mod:`.computing`, which ask ``spec``), printing (:mod:`.report`) and
writing (:mod:`.outputs`) are apart.
"""

from __future__ import annotations

from algoperf_ref.score.computing import score_logs
from algoperf_ref.score.options import Options
from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.trials import TrialResult

__all__ = ["Options", "ScoreReport", "TrialResult", "score_logs"]
