"""The four algorithms that the benchmark's targets are set with (Dahl et al. 2023, section 5)."""
