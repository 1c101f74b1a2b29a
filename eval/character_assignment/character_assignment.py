"""Loaded by `evaluate.load("eval/character_assignment")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import CharacterAssignment

__all__ = ["CharacterAssignment"]
