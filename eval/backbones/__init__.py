"""Image encoders behind one interface; `base.load_backbone` finds them by name."""
