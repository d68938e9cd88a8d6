"""Workloads: models, losses, metrics and the object that submissions see."""
