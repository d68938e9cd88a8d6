"""Performance tests: every figure is a ratio to a twin that is measured beside it in one run."""
