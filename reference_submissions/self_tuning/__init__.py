"""Submissions of the self-tuning ruleset: no hyperparameters from outside."""
