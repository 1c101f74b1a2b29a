"""The joined view of a dataset: stories with their clips, references and sound, each decoded when it is touched."""

from animeshooter_hf.loading.view import MEDIA, ReferenceImage, StoryItem, StoryView, load_stories

__all__ = ["MEDIA", "ReferenceImage", "StoryItem", "StoryView", "load_stories"]
