"""Loaded by `evaluate.load("eval/reference_fidelity")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import ReferenceFidelity

__all__ = ["ReferenceFidelity"]
