"""Submissions of the external tuning ruleset: each has a ``tuning_search_space.json``."""
