"""Loaded by `evaluate.load("eval/text_alignment")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import TextAlignment

__all__ = ["TextAlignment"]
