"""Several processes and several devices give the numbers of one, and fail together."""
