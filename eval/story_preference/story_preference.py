"""Loaded by `evaluate.load("eval/story_preference")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import StoryPreference

__all__ = ["StoryPreference"]
