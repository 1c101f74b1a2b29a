"""The joined view of a dataset: stories with their clips, references and sound, each decoded when it is touched.

view.py            load_stories, and the stories as a sequence
story_item.py      one story: text, clips, frames, references, sound
opened_dataset.py  tables and caches behind a view
dataset_files.py   where the files are: folder, Hub, afar
byte_source.py  parquet_pages.py  parquet_table.py    reading Parquet bit by bit
clip_decoder.py    frames of a clip, and the clips that stay open
frame_sampling.py  epoch_order.py  torch_dataset.py  torch_loader.py    the face for PyTorch
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from animeshooter_hf.loading.frame_sampling import FrameSampling
from animeshooter_hf.loading.opened_dataset import MEDIA, CacheInfo, CacheSettings
from animeshooter_hf.loading.story_item import ReferenceImage, StoryItem
from animeshooter_hf.loading.view import StoryView, load_stories
from animeshooter_hf.optional import require

if TYPE_CHECKING:
    from animeshooter_hf.loading.torch_dataset import SkippedSample, StoryDataset, collate_stories
    from animeshooter_hf.loading.torch_loader import StoryLoader

__all__ = [
    "MEDIA",
    "CacheInfo",
    "CacheSettings",
    "FrameSampling",
    "ReferenceImage",
    "SkippedSample",
    "StoryDataset",
    "StoryItem",
    "StoryLoader",
    "StoryView",
    "collate_stories",
    "load_stories",
]

_NEED_TORCH = {
    "SkippedSample": "torch_dataset",
    "StoryDataset": "torch_dataset",
    "StoryLoader": "torch_loader",
    "collate_stories": "torch_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", extra="modeling", purpose=f"loading.{name}")
    return getattr(import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
