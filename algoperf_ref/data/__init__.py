"""Framework-free input pipelines (numpy batches) and the preparation of data sets.

Nothing here knows JAX, PyTorch or TensorFlow; one pipeline serves both frameworks.
"""
