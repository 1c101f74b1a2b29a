"""What a run would send, counted before anything is sent.

Questions are counted exactly. Pictures and tokens are measured on the first stories and scaled up: a token stands for
four characters of text or for 28 x 28 pixels, which is what Qwen-VL uses; other models count pictures otherwise. Our
choice: a number to plan with, not a bill.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.question import JudgeQuestion
from animeshooter_hf.eval.judge.run import plan_stories, planned_questions
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["JudgeEstimate", "estimate_run"]

_NUM_MEASURED = 3
"""Stories drawn to measure. Our choice."""

_CHARACTERS_PER_TOKEN = 4
_PIXELS_PER_TOKEN = 28 * 28
_OUTPUT_TOKENS_PER_SYSTEM = 250
"""Of a reply: marks and feedback on one system. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeEstimate:
    """What would be sent if every reply were usable at once."""

    num_stories: int
    """Stories to ask about."""

    num_skipped: int
    """(system, story) that the question does not apply to."""

    num_questions: int
    """Questions, without repairs and new tries."""

    num_pictures: int
    """Pictures in all questions together."""

    prompt_tokens: int
    """Estimated."""

    output_tokens: int
    """Estimated."""

    num_unreadable: int
    """Of the measured questions, those that could not be asked because a file cannot be read."""


def estimate_run(systems: Mapping[str, Iterable[StoryPrediction]], settings: JudgeSettings) -> JudgeEstimate:
    """Return what `judge_stories` would send.

    Raises:
        InputError: As `judge_stories`, before it asks.
    """
    planned, skipped = plan_stories(systems, settings)
    questions = [
        question for story in planned[:_NUM_MEASURED] for question in planned_questions(story, tuple(systems), settings)
    ]
    asked = [question for question in questions if isinstance(question, JudgeQuestion)]
    total = sum(len(story.orders) for story in planned)
    scale = total / len(asked) if asked else 0.0
    return JudgeEstimate(
        num_stories=len(planned),
        num_skipped=len(skipped),
        num_questions=total,
        num_pictures=round(scale * sum(len(question.pictures()) for question in asked)),
        prompt_tokens=round(scale * sum(_prompt_tokens(question) for question in asked)),
        output_tokens=round(scale * sum(len(question.order) for question in asked) * _OUTPUT_TOKENS_PER_SYSTEM),
        num_unreadable=len(questions) - len(asked),
    )


def _prompt_tokens(question: JudgeQuestion) -> float:
    text = sum(len(part) for part in question.texts()) / _CHARACTERS_PER_TOKEN
    return text + sum(picture.width * picture.height for picture in question.pictures()) / _PIXELS_PER_TOKEN
