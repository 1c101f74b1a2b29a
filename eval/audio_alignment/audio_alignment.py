"""Loaded by `evaluate.load("eval/audio_alignment")`; the class itself stands in the installed package."""

from animeshooter_hf.eval.hf_modules import AudioAlignment

__all__ = ["AudioAlignment"]
