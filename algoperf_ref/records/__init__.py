"""What a run writes to disk and reads back: experiment directories, logs, checkpoints.

Needs numpy and the standard library (``metadata`` also psutil); knows neither JAX nor PyTorch.
"""
