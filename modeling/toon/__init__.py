"""The embedded checkpoint "toon": what it is made of, and how it was trained from nothing.

    python -m animeshooter_hf.modeling.toon.build OUT      trains all of it; see build.py for the steps

| file | what it holds |
|---|---|
| toon_settings.py | seeds, sizes and steps of the recipe |
| toon_parts.py | the architecture: tokenizers, MLLM, adapter, text encoder, transformer, reference path |
| drawn_stories.py | compact toon stories, drawn by several processes |
| autoencoder_training.py | the VAE |
| base_training.py | text to video: what stands where a downloaded CogVideoX stands |
| toon_card.py | what its card says |
| build.py | the whole recipe, one step after the other |
"""
