"""The story preference comparison: its `evaluate` module, its card and its demo."""
