import animeshooter_hf


class AnimeShooterGenPipeline(animeshooter_hf.AnimeShooterGenPipeline):
    """So that `DiffusionPipeline.from_pretrained(..., custom_pipeline=..., trust_remote_code=True)` finds the class."""
