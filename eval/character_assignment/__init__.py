"""The character assignment metric: its `evaluate` module, its card and its demo."""
