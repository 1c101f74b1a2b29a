"""Loaded by `evaluate.load("eval/cross_shot_consistency")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import CrossShotConsistency

__all__ = ["CrossShotConsistency"]
