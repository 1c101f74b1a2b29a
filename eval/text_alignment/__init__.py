"""The text alignment metric: its `evaluate` module, its card and its demo."""
