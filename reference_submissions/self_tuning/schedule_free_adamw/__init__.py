"""Schedule-Free AdamW with linear warm-up."""
