"""A small page that scores one story with one metric; the Space of each metric shows it."""

from collections.abc import Sequence
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.metrics import check_metrics
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.optional import require

__all__ = ["build_app", "score_files"]


def score_files(metric: str, shots: Sequence[str], references: Sequence[str]) -> tuple[list[list[Any]], str]:
    """Return rows (name, value) of one story, and its table as text.

    Raises:
        InputError: If there is no shot.
    """
    if not shots:
        raise InputError("Give at least one shot.")
    story = StoryPrediction(story_id="story", ip_id="story", shots=tuple(shots), references=tuple(references))
    results = evaluate_stories([story], (metric,))
    values = results.stories["story"][metric].values
    return [[name, value] for name, value in values.items() if value is not None], results.table()


def build_app(metric: str) -> Any:
    """Return the page as a gradio `Blocks`.

    Raises:
        ImportError: If gradio is not installed.
        InputError: If there is no such metric.
    """
    (metric,) = check_metrics((metric,))
    gradio = require("gradio", extra="web", purpose="The demo page of a metric")

    def score(shots: list[str] | None, references: list[str] | None) -> tuple[list[list[Any]], str]:
        try:
            return score_files(metric, shots or [], references or [])
        except InputError as error:
            raise gradio.Error(str(error)) from error

    with gradio.Blocks(title=metric) as page:
        gradio.Markdown(f"# {metric.replace('_', ' ').capitalize()}\nShots of one story, in order; colour only.")
        with gradio.Row():
            shots = gradio.File(label="Shots (video)", file_count="multiple", file_types=["video"])
            references = gradio.File(label="References (image)", file_count="multiple", file_types=["image"])
        button = gradio.Button("Score", variant="primary")
        values = gradio.Dataframe(headers=["name", "value"], label="Scores")
        table = gradio.Textbox(label="Table", lines=12)
        button.click(score, inputs=[shots, references], outputs=[values, table])
    return page
