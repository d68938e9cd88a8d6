"""The click logs of the Criteo workload: read as text or converted, prepared, checked, listed."""
