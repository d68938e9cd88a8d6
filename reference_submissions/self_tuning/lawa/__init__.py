"""NadamW that is evaluated at the mean of its latest weights."""
