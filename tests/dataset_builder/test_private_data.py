"""Private data is found and blanked, in time proportional to the text, and ordinary captions hold none."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.quality.private_data import (
    KINDS,
    find_private_data,
    redact,
    redact_story,
    scan_story,
)
from animeshooter_hf.dataset_builder.release.files import iter_release_files
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_files
from animeshooter_hf.records import AudioAnnotation, Character, Shot, Story
from animeshooter_hf.toon import FilmSettings, make_stories, plan_film

SAMPLE = Path(__file__).parents[2] / ".." / "shared" / "release-sample"


@pytest.mark.parametrize(
    ("text", "kind", "secret"),
    [
        ("A card reads mia.fox+art@mail.example.co.uk.", "email", "mia.fox+art@mail.example.co.uk"),
        ("mia [at] example [dot] org", "email", "mia [at] example [dot] org"),
        ("邮箱是mia@example.com。", "email", "mia@example.com"),
        ("mail ｍｉａ＠ｅｘａｍｐｌｅ．ｏｒｇ now", "email", "ｍｉａ＠ｅｘａｍｐｌｅ．ｏｒｇ"),
        ("see https://example.org/a?b=c#d.", "url", "https://example.org/a?b=c#d"),
        ("see www.example.museum/x, then", "url", "www.example.museum/x"),
        ("subscribe at youtube.com/@mia", "url", "youtube.com/@mia"),
        ("join discord.gg/abcdef", "url", "discord.gg/abcdef"),
        ("call +49 (0)30 1234-567 today", "phone", "+49 (0)30 1234-567"),
        ("call (555) 234-5678.", "phone", "(555) 234-5678"),
        ("call 1-800-234-5678", "phone", "1-800-234-5678"),
        ("call 03-1234-5678", "phone", "03-1234-5678"),
        ("call 09012345678", "phone", "09012345678"),
        ("手机13812345678号", "phone", "13812345678"),
        ("call 13812345678", "phone", "13812345678"),
        ("IBAN DE89 3704 0044 0532 0130 00", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432 it says", "iban", "GB82WEST12345698765432"),
        ("paid with 4111 1111 1111 1111", "card", "4111 1111 1111 1111"),
        ("paid with 378282246310005", "card", "378282246310005"),
        ("follow @mia_draws.", "handle", "@mia_draws"),
        ("toot @mia@art.example.org", "handle", "@mia@art.example.org"),
    ],
)
def test_private_data_is_found_where_it_stands(text: str, kind: str, secret: str) -> None:
    (found,) = find_private_data(text)
    assert found.kind == kind
    assert text[found.start : found.end] == secret
    assert redact(text) == text.replace(secret, f"[{kind}]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The fox (left) meets @ noon; 3.5 m away, at 12:30, on 12/05/2024 or 2024-05-12 10:30:00.",
        "Shots 100-200, frames 1200 to 1455, scene 02-03, ratio 16:9, pi is 3.14159265358979.",
        "He runs home.The dog follows.Come in.So it is.Look at me.It works.No.Is it?",
        "A 1920x1080 screen counts 10 000 000, then 4111 1111 1111 1112, then 0000000000000000.",
        "At 5 p.m. the clock shows 05-06-07 and 01.02.1999; the year is 1984-2001.",
        "DE00 0000 is on the plate; GB82WEST12345698765433 is no account.",
        "e.g. this, i.e. that, etc.; U.S.A.; Dr. Fox vs. Mr. Bear; v1.2.3; @ 3; a@b; ###",
    ],
)
def test_ordinary_words_and_numbers_are_left_alone(text: str) -> None:
    assert find_private_data(text) == ()
    assert redact(text) == text


def toon_stories() -> Iterator[Story]:
    for seed in range(50):
        yield from make_stories(plan_film(seed, FilmSettings(seconds=60)))


def test_the_words_of_fifty_toon_films_hold_nothing_private() -> None:
    stories = list(toon_stories())
    assert len(stories) >= 50
    assert [one for story in stories for one in scan_story(story)] == []


def test_the_words_of_the_release_sample_hold_nothing_private() -> None:
    path = SAMPLE / "LvJRvwIDh0E.json"
    if not path.is_file():
        pytest.skip("the release sample is not beside the checkout")
    log = ProblemLog()
    stories = [story for _, story in read_release_files(iter_release_files(path, log), log)]
    assert len(stories) == 8
    assert [one for story in stories for one in scan_story(story)] == []
    for demo in sorted((SAMPLE / "demos").glob("*.json")):
        assert all(kind == "url" for kind in {one.kind for one in find_private_data(_words(demo))})


def _words(path: Path) -> str:
    def texts(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, one in value.items():
                if key not in ("counts", "url"):
                    yield from texts(one)
        elif isinstance(value, list):
            for one in value:
                yield from texts(one)

    return "\n".join(texts(json.loads(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("piece", ["a.", "a@", "@", "1", "1 ", "(0", "+1", "GB82 ", "http://", "(at)"])
def test_a_million_characters_take_no_longer_than_their_number(piece: str) -> None:
    begin = time.process_time()
    find_private_data(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begin < 10  # a fraction of a second; by the square it would be minutes


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("a1@.+- ()/:[]#ä１＠\ud800\n\0wcomhtps"), max_size=80))
def test_whatever_the_text_findings_are_in_order_and_blanking_is_final(text: str) -> None:
    found = find_private_data(text)
    assert all(one.start < one.end for one in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert redact(text).count("[") >= len(found)
    assert len(find_private_data(text, ())) == 0


def secret_story() -> Story:
    shot = Shot(
        shot_id="v_000_00",
        index=0,
        narrative_caption="Mia shows mia@example.org.",
        descriptive_caption="A card with www.example.org.",
        audio=AudioAnnotation(audio_type="bell", visual_context="a phone with 555-234-5678 on it"),
    )
    return Story(
        video_id="v",
        story_id="v_000",
        storyline="She is @mia_draws.",
        characters=(Character(id="Mia", appearance="grey"),),
        shots=(shot,),
    )


def test_every_text_of_a_story_is_scanned_and_blanked() -> None:
    found = {one.where: one.finding.kind for one in scan_story(secret_story())}
    assert found == {
        "storyline": "handle",
        "shots/0/narrative_caption": "email",
        "shots/0/descriptive_caption": "url",
        "shots/0/audio_annotation/visual_context": "phone",
    }
    clean = redact_story(secret_story())
    assert scan_story(clean) == ()
    assert clean.shots[0].narrative_caption == "Mia shows [email]."
    assert redact_story(clean) == clean


def test_only_the_kinds_asked_for_are_looked_for() -> None:
    text = "mia@example.org, @mia_draws"
    assert [one.kind for one in find_private_data(text, ["handle"])] == ["handle"]
    assert set(KINDS) == {"url", "email", "iban", "card", "phone", "handle"}
