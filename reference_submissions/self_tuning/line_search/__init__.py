"""Stochastic gradient descent with a line search on every batch."""
