"""A small page that scores one story with one metric; the Space of each metric shows it. And one that ranks by votes.

What the page does is in two functions that need no gradio, `score_files` and `rank_votes`.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.metrics import check_metrics
from animeshooter_hf.eval.predictions import parse_story
from animeshooter_hf.eval.preference import Comparison, rank_systems
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.optional import require

__all__ = ["build_app", "rank_votes", "score_files"]

_WORDS: Mapping[str, str] = {
    "reference_fidelity": "How well every shot keeps the look of the reference.",
    "cross_shot_consistency": "How much the shots look alike. A repeated shot scores highest: look at the controls.",
    "shot_controls": "What no score of likeness may be read without: does it move, is it repeated, pasted in, noise?",
    "text_alignment": "How well every shot shows its caption: give captions, and a backend that reads text.",
    "audio_alignment": "Whether sound fits the picture, and how loud it is.",
    "character_assignment": "Who is who, in stories of several characters: give regions.",
}
_VOTE_COLUMNS = ("left", "right", "answer", "rater", "story_id", "ip_id")
_MORE = '{"captions": ["A fox walks."], "scene_ids": ["field"], "shot_characters": [["fox"]], "regions": [{}]}'

Row = list[Any]


def score_files(
    metric: str, shots: Sequence[str], references: Sequence[str], *, more: str = "", backend: str = ""
) -> tuple[list[Row], str]:
    """Return rows (name, value, better) of one story, and its table as text.

    Args:
        metric: Name of the metric.
        shots: Videos in order.
        references: Images.
        more: The rest of the story as a JSON object with keys of a predictions file; "" for none.
        backend: NAME or NAME:REPO_OR_FOLDER[@REVISION]; "" takes `classical`, or `clip` where text is read.

    Raises:
        InputError: If there is no shot, or `more` is no such object, or the backend cannot be had.
    """
    if not shots:
        raise InputError("Give at least one shot.")
    row = {**_read_more(more), "shots": list(shots)}
    if references:
        row["references"] = list(references)
    row.setdefault("story_id", "story")
    story = parse_story(row, "The story", Path())
    backend = backend.strip() or ("clip" if metric == "text_alignment" else "classical")
    results = evaluate_stories([story], (metric,), backend=backend, draws=0)
    corpus = results.corpus[metric]
    values = results.stories[story.story_id][metric].values
    directions = {name: entry.direction for name, entry in corpus.items()}
    rows: list[Row] = [[name, value, directions[name]] for name, value in values.items() if value is not None]
    return rows, results.table()


def rank_votes(path: str) -> tuple[list[Row], str]:
    """Return rows (system, strength, low, high, win rate, votes), and a sentence on position and ties.

    Args:
        path: A CSV file with the columns left, right, answer, and, if known, rater, story_id, ip_id.

    Raises:
        InputError: If it is no such file.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("The votes cannot be read as CSV.") from error
    votes = []
    for number, line in enumerate(lines, start=2):
        if not {"left", "right", "answer"} <= set(line) or not set(line) <= set(_VOTE_COLUMNS):
            raise InputError(f"The columns must be left, right, answer, and may be {', '.join(_VOTE_COLUMNS[3:])}.")
        try:
            given: dict[str, Any] = {name: value.strip() for name, value in line.items()}
            votes.append(Comparison(**given))
        except ValueError as error:
            raise InputError(f"Line {number}: {error}") from error
    ranking = rank_systems(votes)
    rows: list[Row] = [
        [one.system, one.strength, one.low, one.high, one.win_rate, one.num_votes] for one in ranking.systems
    ]
    words = f"{ranking.num_votes} votes of {ranking.num_raters} raters, {ranking.tie_rate:.0%} ties; "
    return rows, words + f"what is at the left is ahead by {ranking.preference.position:+.2f} log-odds."


def build_app(metric: str) -> Any:
    """Return the page of a metric, or of `story_preference`, as a gradio `Blocks`.

    Raises:
        ImportError: If gradio is not installed.
        InputError: If there is no such metric.
    """
    if metric != "story_preference":
        (metric,) = check_metrics((metric,))
    gradio = require("gradio", extra="web", purpose="The demo page of a metric")
    title = metric.replace("_", " ").capitalize()
    with gradio.Blocks(title=title) as page:
        (_preference_page if metric == "story_preference" else _metric_page)(gradio, metric, title)
    return page


def _metric_page(gradio: Any, metric: str, title: str) -> None:
    def score(shots: list[str] | None, references: list[str] | None, more: str, backend: str) -> tuple[list[Row], str]:
        try:
            return score_files(metric, shots or [], references or [], more=more, backend=backend)
        except (InputError, ImportError) as error:
            raise gradio.Error(str(error)) from error

    gradio.Markdown(f"# {title}\n{_WORDS[metric]} The shots of one story, in order. A file that cannot be read counts.")
    with gradio.Row():
        shots = gradio.File(label="Shots (video)", file_count="multiple", file_types=["video"])
        references = gradio.File(label="References (image)", file_count="multiple", file_types=["image"])
    more = gradio.Textbox(label="More about the story (JSON, optional)", placeholder=_MORE, lines=3)
    backend = gradio.Textbox(label="Backend", value="clip" if metric == "text_alignment" else "classical", max_lines=1)
    button = gradio.Button("Score", variant="primary")
    values = gradio.Dataframe(headers=["name", "value", "better"], label="Scores")
    table = gradio.Textbox(label="Table", lines=12)
    button.click(score, inputs=[shots, references, more, backend], outputs=[values, table])


def _preference_page(gradio: Any, metric: str, title: str) -> None:
    del metric

    def rank(votes: str | None) -> tuple[list[Row], str]:
        try:
            if not votes:
                raise InputError("Give a file of votes.")
            return rank_votes(votes)
        except InputError as error:
            raise gradio.Error(str(error)) from error

    gradio.Markdown(f"# {title}\nWhich system is preferred: Bradley-Terry with ties, from a CSV file of votes.")
    votes = gradio.File(label=f"Votes (CSV: {', '.join(_VOTE_COLUMNS)})", file_types=[".csv"])
    button = gradio.Button("Rank", variant="primary")
    rows = gradio.Dataframe(headers=["system", "strength", "low", "high", "win rate", "votes"], label="Ranking")
    words = gradio.Textbox(label="Votes")
    button.click(rank, inputs=[votes], outputs=[rows, words])


def _read_more(more: str) -> dict[str, Any]:
    if not more.strip():
        return {}
    try:
        value = json.loads(more)
    except (ValueError, RecursionError) as error:
        raise InputError("What more there is about the story is not JSON.") from error
    if not isinstance(value, dict) or {"shots", "references"} & set(value):
        raise InputError("What more there is about the story must be a JSON object, without shots and references.")
    return value
