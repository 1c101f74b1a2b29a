"""SigLIP 2: as CLIP, trained with a sigmoid loss; better at text alignment.

Source: Tschannen et al., arXiv 2502.14786; weights google/siglip2-so400m-patch14-384, licence Apache-2.0. Checkpoints
of a fixed resolution are models of the kind "siglip". Those with "naflex" in their name are not read here: their
sequences differ in length with the picture's shape.

It was trained on lower-case texts padded to 64 tokens, without a mask over the padding.
"""

from animeshooter_hf.eval.backbones.clip import ImageTextBackbone

__all__ = ["Siglip2Backbone"]


class Siglip2Backbone(ImageTextBackbone):
    """SigLIP and SigLIP 2 of a fixed resolution."""

    name = "siglip2"
    purpose = "text alignment; general look"
    license = "Apache-2.0"
    source = "google/siglip2-so400m-patch14-384"
    model_class = "SiglipModel"
    model_types = ("siglip",)
    lowercases = True
    masks_padding = False

    @property
    def pair_logit(self) -> tuple[float, float]:
        """By what a cosine is multiplied, and what is added then, for the logit that picture and text are a pair."""
        return float(self._model.logit_scale.float().exp()), float(self._model.logit_bias.float())
