"""Sharpness-aware minimisation (SAM) with AdamW, linear warm-up and cosine decay."""
