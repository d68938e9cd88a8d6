"""From logs to times to target, ratios and scores; needs numpy and the standard library only.

Reading (:mod:`.logs`), computing (:mod:`.computing`, which asks ``spec.scoring``) and printing
(:mod:`.report`) are apart.
"""

from __future__ import annotations

from algoperf_ref.score.computing import ScoreReport, TrialResult, score_logs

__all__ = ["ScoreReport", "TrialResult", "score_logs"]
