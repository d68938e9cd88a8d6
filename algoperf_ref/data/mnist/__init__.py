"""Handwritten digits of the development workload mnist."""
