"""Adafactor with momentum, linear warm-up and cosine decay."""
