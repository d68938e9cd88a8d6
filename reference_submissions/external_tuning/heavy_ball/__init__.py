"""Heavy-ball momentum with linear warm-up, linear decay and a constant end."""
