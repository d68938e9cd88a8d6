"""Distributed Shampoo, blocked and grafted, with linear warm-up and cosine decay."""
