"""`AnimeShooterBuilder`: the dataset as a `datasets` builder, over a release, a dataset folder or the Hub.

It is the loading script of older `datasets`, as a class of this package; see `loading_script.py` for how it works.
"""

from animeshooter_hf.dataset_builder.loading_script import AnimeShooter
from animeshooter_hf.errors import InputError

__all__ = ["AnimeShooterBuilder"]


class AnimeShooterBuilder(AnimeShooter):
    """Builds the four configs from `data_dir`; bad input raises `InputError`.

    Example:
        builder = AnimeShooterBuilder(config_name="stories", data_dir="dataset_anime_shooter.zip")
        builder.download_and_prepare(num_proc=8)
        stories = builder.as_dataset(split="train")
        shots = AnimeShooterBuilder(config_name="shots", data_dir="ORG/NAME").as_streaming_dataset(split="train")
    """

    INPUT_ERROR = InputError
