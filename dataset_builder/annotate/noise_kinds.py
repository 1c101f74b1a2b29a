"""What can be wrong with a model's answer: a closed table of kinds, each with a function that does it to a good one.

A kind works on the parsed script (`shape`) or on the answer's text (`text`). It returns None where it does not apply,
such as absolute times in a segment that begins with the film. `codes` are the issues of `script/issues.py` that name
it; a kind without codes must leave the aligned story as it was.

The kinds are those irregularities of the public release that a model can make, and the ways in which models break JSON.
"""

from animeshooter_hf.dataset_builder.annotate import noise_script, noise_text, noise_time
from animeshooter_hf.dataset_builder.annotate.noise_table import NOISE, NoiseKind

__all__ = ["NOISE", "NoiseKind", "noise_script", "noise_text", "noise_time"]
