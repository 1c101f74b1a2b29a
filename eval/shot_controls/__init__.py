"""The shot controls metric: its `evaluate` module, its card and its demo."""
