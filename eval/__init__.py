"""Scores of generated stories: reference fidelity and cross-shot consistency.

story_prediction.py  what is scored                     predictions.py   where it is read from
sampling.py          which frames of a shot             views.py         what of a frame
backbones/           pictures to rows of unit length    encoding.py      each file decoded once
fidelity.py, consistency.py, aggregate.py               the formulas, pure functions of embeddings
scoring.py           embeddings to results              results.py       numbers with coverage, JSON, table
runner.py            `evaluate_stories`                 evaluate_command.py  `animeshooter evaluate`
hf_modules.py        the same as modules of `evaluate`; reference_fidelity/ and cross_shot_consistency/ hold their cards
"""
