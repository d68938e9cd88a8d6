"""German-English sentence pairs: tokenizer, token store, packed batches."""
