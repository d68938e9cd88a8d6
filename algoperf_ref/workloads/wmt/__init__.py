"""The translation workload: German sentences to English ones, Transformer."""
