"""What a dataset is checked for: duplicates, leakage over splits, rights and takedowns, private data, statistics."""
