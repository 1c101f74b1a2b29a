"""A premise becomes a story that can be used, or one sentence says why not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.script_schema import parse_script, script_problems, script_schema
from animeshooter_hf.modeling.story_request import make_request
from animeshooter_hf.modeling.writer import WriterSettings, write_story
from animeshooter_hf.records import Character, Story

MIA = Character(id="Mia", appearance="a small orange fox with a green scarf")
TWO = WriterSettings(num_shots=2)


def script(num_shots: int = 2, **changes: Any) -> dict[str, Any]:
    """Return a script that can be used."""
    shot = {
        "characters": ["Mia"],
        "scene": "attic",
        "narrative_caption": "Mia looks for the key.",
        "descriptive_caption": "Mia kneels in the dust, close view.",
    }
    return {
        "storyline": "Mia finds a key.",
        "main_characters": [{"id": "Mia", "appearance": "a fox"}],
        "main_scenes": [{"id": "attic", "environment": "a dusty attic"}],
        "shots": [dict(shot) for _ in range(num_shots)],
    } | changes


def with_shot(**changes: Any) -> dict[str, Any]:
    """Return a script whose second shot is changed."""
    made = script()
    made["shots"][1] |= changes
    return made


class Recorded:
    """A writer of recorded answers; it keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [one if isinstance(one, str) else json.dumps(one) for one in answers]
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.answers[len(self.prompts) - 1]


def test_a_good_answer_becomes_a_story_that_the_pipeline_takes() -> None:
    story = write_story("A lost key.", Recorded(script()), characters=[MIA], settings=TWO, story_id="key")
    assert (story.story_id, len(story.shots), story.storyline) == ("key", 2, "Mia finds a key.")
    assert story.shots[1].characters == ("Mia",)
    assert story.scenes[0].environment == "a dusty attic"
    assert make_request(story, None, max_shots=4, require_references=False).story == story
    assert Story.from_json(story.to_json()) == story


def test_the_given_appearance_wins_over_the_writers() -> None:
    story = write_story("A lost key.", Recorded(script()), characters=[MIA], settings=TWO)
    assert story.characters == (MIA,)
    plain = write_story("A lost key.", Recorded(script()), characters=[Character(id="Mia")], settings=TWO)
    assert plain.characters[0].appearance == "a fox"


def test_the_same_answers_give_the_same_story() -> None:
    stories = [write_story("A key.", Recorded("nonsense", script()), settings=TWO) for _ in range(2)]
    assert stories[0] == stories[1]


def test_the_prompt_holds_premise_cast_and_settings_as_they_were_given() -> None:
    writer = Recorded(script(3))
    settings = WriterSettings(num_shots=3, style="paper cut-out", language="French")
    write_story("A key worth $5 {sic}.", writer, characters=[MIA], settings=settings)
    for words in ("A key worth $5 {sic}.", "paper cut-out", "French", MIA.appearance, "exactly 3 shots"):
        assert words in writer.prompts[0]


def test_sound_is_asked_for_and_kept_where_wanted() -> None:
    sound = {"audio_type": "creak", "sound_description": "low, slow", "visual_context": "a door"}
    made = script()
    for shot in made["shots"]:
        shot["audio_annotation"] = sound
    writer = Recorded(made)
    story = write_story("A key.", writer, settings=WriterSettings(num_shots=2, with_sound=True))
    assert story.shots[0].audio is not None
    assert story.shots[0].audio.audio_type == "creak"
    assert "audio_annotation" in writer.prompts[0]
    assert write_story("A key.", Recorded(made), settings=TWO).shots[0].audio is None


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: f"```json\n{text}\n```",
        lambda text: f"Sure! Here it is:\n```\n{text}\n```\nEnjoy {{}}!",
        lambda text: f'<think>{{"shots": "no"}}</think>\n{text}',
        lambda text: f'{{"note": 1}} and then {text} {text}',
    ],
    ids=["fence", "words", "thoughts", "several"],
)
def test_a_script_is_found_in_what_surrounds_it(dress: Callable[[str], str]) -> None:
    assert parse_script(dress(json.dumps(script()))) == script()


def test_a_faulty_answer_is_sent_back_once_with_its_faults() -> None:
    writer = Recorded(with_shot(characters=["Rex"], scene="moon"), script())
    story = write_story("A key.", writer, settings=TWO)
    assert len(story.shots) == 2
    first, second = writer.prompts
    assert second.startswith(first.strip()[:200])
    assert "'Rex'" in second
    assert "'moon'" in second


def test_the_first_problem_ends_it_when_the_repair_fails_too() -> None:
    writer = Recorded(script(1), script(3))
    with pytest.raises(InputError, match=r"^Recorded wrote no story.*There are 3 shots; exactly 2 were asked for\.$"):
        write_story("A key.", Named(writer), settings=TWO)
    assert len(writer.prompts) == 2


class Named:
    """A writer that implements the protocol."""

    name = "Recorded"

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def answer(self, question: Any) -> Any:
        from animeshooter_hf.modeling.writer_models import ScriptAnswer

        return ScriptAnswer(self.function(question.prompt))


def test_no_repair_is_tried_where_none_is_allowed() -> None:
    writer = Recorded("no")
    with pytest.raises(InputError, match="no whole JSON object"):
        write_story("A key.", writer, settings=WriterSettings(num_shots=2, num_repairs=0))
    assert len(writer.prompts) == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (script(storyline=" "), "storyline of the story must be a text"),
        (script(storyline=7), "storyline of the story must be a text"),
        (script(main_characters=None), "main_characters must be a list"),
        (script(main_characters=[{"id": "Mia", "appearance": "a fox"}] * 2), "declares 'Mia' twice"),
        (script(main_characters=[{"id": "x" * 61, "appearance": "a"}]), "needs an id"),
        (script(main_characters=[{"id": "Mia\u202e", "appearance": "a"}]), "needs an id"),
        (script(main_characters=[{"id": "Mia", "appearance": "a\ud800"}]), "holds control characters"),
        (script(main_scenes=[{"id": str(n), "environment": "e"} for n in range(6)]), "at most 5"),
        (script(shots={"0": 1}), "shots must be a list"),
        (script(shots=[1, 2]), "Shot 1 must be an object"),
        (script(3), "There are 3 shots"),
        (with_shot(characters=["Rex"]), "shows 'Rex', who is not among"),
        (with_shot(characters="Mia"), "must be a list of names"),
        (with_shot(characters=[]), "names 'Mia', who is not in its list"),
        (with_shot(scene=None), "scene of shot 2"),
        (with_shot(narrative_caption=""), "narrative_caption of shot 2 must be a text"),
        (with_shot(descriptive_caption=["a"]), "descriptive_caption of shot 2 must be a text"),
        (with_shot(descriptive_caption="a" * 2001), "at most 2000"),
        (with_shot(descriptive_caption="a\x1b[2J"), "holds control characters"),
    ],
)  # fmt: skip
def test_each_fault_of_a_script_is_told(made: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in script_problems(made, num_shots=2))


def test_a_script_without_faults_has_no_problems() -> None:
    assert script_problems(script(), num_shots=2, characters=[MIA]) == []


def test_nobody_is_added_to_a_given_cast() -> None:
    rex = {"id": "Rex", "appearance": "a dog"}
    more = script(main_characters=[*script()["main_characters"], rex])
    assert "exactly 'Mia'" in script_problems(more, num_shots=2, characters=[MIA])[0]
    assert script_problems(more, num_shots=2) == []


def test_a_writer_may_not_invent_more_characters_than_allowed() -> None:
    cast = [{"id": name, "appearance": "a"} for name in ("Mia", "Rex", "Pip")]
    with pytest.raises(InputError, match="3 main_characters; at most 2"):
        write_story("A.", lambda _: json.dumps(script(main_characters=cast)), settings=WriterSettings(
            num_shots=2, max_characters=2))  # fmt: skip


@pytest.mark.parametrize("caption", ["Mia, wearing a hat, runs.", "Mia in her green scarf, an orange blur, runs."])
def test_captions_that_describe_identity_are_refused_where_asked(caption: str) -> None:
    made = with_shot(descriptive_caption=caption)
    assert script_problems(made, num_shots=2, characters=[MIA])
    assert not script_problems(made, num_shots=2, characters=[MIA], captions_without_identity=False)


def test_one_word_that_an_appearance_shares_is_no_description() -> None:
    made = with_shot(descriptive_caption="Mia runs over a green meadow.")
    assert not script_problems(made, num_shots=2, characters=[MIA])


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{" * 300_000,
        '{"shots":' * 100_000,
        "```\n" * 100_000,
        "```" + "\n" * 300_000,
        "[" * 100_000 + "]" * 100_000,
        '{"shots": NaN}',
        '{"shots": ' + "9" * 100_000 + "}",
        json.dumps(script())[:-1],
        'null {"a": 1}',
        "\x00\ud800",
        "<think>" + json.dumps(script()) + "</think> done",
    ],
    ids=range(12),
)
def test_hostile_answers_end_in_one_sentence(answer: str) -> None:
    with pytest.raises(InputError, match=r"^the function wrote no story that can be used: The answer .*\.$"):
        write_story("A key.", lambda _: answer, settings=TWO)


def test_the_schema_holds_strict_endpoints_to_the_form() -> None:
    schema = script_schema(4, ["Mia"], with_sound=True)
    shots = schema["properties"]["shots"]
    assert (shots["minItems"], shots["maxItems"]) == (4, 4)
    assert shots["items"]["properties"]["characters"]["items"]["enum"] == ["Mia"]
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if node.get("type") == "object":
            assert node["required"] == list(node["properties"])
            assert node["additionalProperties"] is False
        pending += [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]


@pytest.mark.parametrize(
    ("premise", "options", "words"),
    [
        ("", {}, "premise must be a text"),
        ("a" * 20_001, {}, "at most 20000 are read"),
        ("A.", {"characters": ["Mia"]}, "must be Character records"),
        ("A.", {"characters": [MIA, MIA]}, "given twice"),
        ("A.", {"writer": 3}, "must be callable"),
        ("A.", {"writer": lambda _: 5}, "must return a text"),
    ],
)
def test_a_brief_that_cannot_be_used_is_refused(premise: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_story(premise, **({"writer": lambda _: "{}"} | options))


@pytest.mark.parametrize(
    "wrong",
    [{"num_shots": 0}, {"num_shots": 65}, {"num_shots": True}, {"temperature": 3}, {"seed": -1}, {"style": " "},
     {"num_repairs": 6}, {"max_output_tokens": 1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        WriterSettings(**wrong)
