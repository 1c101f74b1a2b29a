"""Sound for generated shots: who makes it, for a whole story, and at what loudness.

scorer.py             the protocol, silence, any function
diffusers_scorers.py  Stable Audio, Stable Audio 3, AudioLDM 2
open_scorer.py        a scorer by name; licences
story_sound.py        prompts, seeds, lengths, resuming
mastering.py          one loudness for the film, no clipping
testing.py            the three pipelines at toy size, with random weights
"""

from animeshooter_hf.modeling.sound.mastering import LevelSettings, level_sound, match_loudness
from animeshooter_hf.modeling.sound.open_scorer import SOUND_MODELS, open_scorer
from animeshooter_hf.modeling.sound.scorer import AudioScorer, CallableScorer, SilenceScorer, sound_seed_for
from animeshooter_hf.modeling.sound.story_sound import SoundSettings, iter_sounds, score_story, sound_prompt
from animeshooter_hf.video.loudness import integrated_loudness, true_peak

__all__ = [
    "SOUND_MODELS",
    "AudioScorer",
    "CallableScorer",
    "LevelSettings",
    "SilenceScorer",
    "SoundSettings",
    "integrated_loudness",
    "iter_sounds",
    "level_sound",
    "match_loudness",
    "open_scorer",
    "score_story",
    "sound_prompt",
    "sound_seed_for",
    "true_peak",
]
