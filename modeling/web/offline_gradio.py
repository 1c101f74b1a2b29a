"""gradio, told before it is imported not to ask its own servers for anything."""

import os

from animeshooter_hf.optional import require

__all__ = ["check_gradio"]


def check_gradio() -> None:
    """Import gradio; with it come neither torch nor a model, so a missing one is named at once.

    Raises:
        MissingExtraError: If it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    require("gradio", extra="web", purpose="The web app")
