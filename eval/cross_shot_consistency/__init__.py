"""The cross shot consistency metric: its `evaluate` module, its card and its demo."""
