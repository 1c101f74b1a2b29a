"""Loaded by `evaluate.load("eval/shot_controls")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import ShotControls

__all__ = ["ShotControls"]
