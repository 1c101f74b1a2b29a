"""The reference fidelity metric: its `evaluate` module, its card and its demo."""
