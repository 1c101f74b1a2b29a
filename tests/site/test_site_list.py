"""The list in a real Chromium: search, filters, order, pages, links and the way back, over thousands of stories."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging_stories import story
from site_visits import Look, MadeSite, served

from animeshooter_hf import Character, Scene, Shot, Story
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.loading import load_stories
from animeshooter_hf.records import make_shot_id, make_story_id
from animeshooter_hf.site.search_index import words_of

NUM_STORIES = 3000
NAMES = ("Mia", "Old Bear", "Ålva", "Kitsune", "Toto")
PLACES = ("Barn", "Old Harbour", "Moon", "東京")
THINGS = ("balloon", "kite", "map", "drum", "café", "lantern", "whistle")


def told(number: int) -> Story:
    """A story whose words, length and rating follow from its number; no 1234 is the only one with a zeppelin."""
    story_id = make_story_id(f"film-{number:05d}", 0)
    thing = "zeppelin" if number == 1234 else THINGS[number % 7]
    shots = [
        Shot(
            shot_id=make_shot_id(story_id, index), index=index, start_frame=index * 48, end_frame=(index + 1) * 48,
            start_seconds=2.0 * index, end_seconds=2.0 * index + 2, characters=(NAMES[number % 5],),
            scene=PLACES[number % 4], narrative_caption=f"They lose the {thing} in part {index}.",
            descriptive_caption=f"Somebody holds a {thing} up against a painted sky, frame {number * 7 + index}.",
        )
        for index in range(3 + number % 9)
    ]  # fmt: skip
    return Story(
        video_id=f"film-{number:05d}", story_id=story_id, frame_rate=24, start_frame=0, end_frame=48 * len(shots),
        storyline=f"Tale {number}: {NAMES[number % 5]} and the {thing}.", shots=tuple(shots),
        characters=(Character(id=NAMES[number % 5], appearance="small and round"),),
        scenes=(Scene(id=PLACES[number % 4], environment="painted"),), rating=("general", "teen", None)[number % 3],
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeSite]:
    """A site of three thousand stories without media."""
    root = tmp_path_factory.mktemp("many")
    write_dataset(root / "dataset", (told(number) for number in range(NUM_STORIES)), progress=False)
    yield from served(root / "dataset", root / "site")


def test_the_first_page_of_thousands_loads_a_few_chunks(many: MadeSite, look: Look) -> None:
    visit = look(many.url)
    visit.see(".card")
    assert visit.page.locator(".card").count() == 24
    shots = sum(3 + number % 9 for number in range(NUM_STORIES))
    assert visit.texts(".count") == [f"3,000 stories · {shots:,} shots · {shots / 1800:.1f} h"]
    data = [one for one in visit.requests if one.startswith("data/")]
    assert sorted(one.split("/")[1] for one in data) == ["cards", "site"]
    assert sum((many.root / one).stat().st_size for one in data) < 100_000
    visit.go("#/?page=125")
    visit.see(".page-step[aria-disabled]", "Next")
    assert len([one for one in visit.requests if one.startswith("data/cards/")]) == 2
    visit.go("#/?page=9999")
    visit.until("document.querySelector('.page-jump input').value === '125'")


QUERIES: dict[str, Callable[[int], bool]] = {
    "zeppelin": lambda n: n == 1234,
    "ZEPP": lambda n: n == 1234,
    "cafe kitsune": lambda n: n % 7 == 4 and n % 5 == 3 and n != 1234,
    'character:"old bear"': lambda n: n % 5 == 1,
    "character:alva scene:barn": lambda n: n % 5 == 2 and n % 4 == 0,
    "scene:東": lambda n: n % 4 == 3,
    "old": lambda n: n % 5 == 1 or n % 4 == 1,
    "storyline:painted": lambda n: False,
    "id:film-02999": lambda n: n == 2999,
    "caption:they storyline:kite": lambda n: n % 7 == 1 and n != 1234,
}
"""What is typed -> which stories hold it."""


def test_a_search_finds_exactly_the_stories_that_hold_the_words(many: MadeSite, look: Look) -> None:
    visit = look(many.url)
    visit.see(".card")
    in_order = numbers_in_order(many)
    for query, fits in QUERIES.items():
        before = len(visit.requests)
        found = visit.run("(q) => animeshooter.select({ q })", query)
        assert found == [place for place, number in enumerate(in_order) if fits(number)], query
        assert sum((many.root / one).stat().st_size for one in visit.requests[before:]) < 250_000


def numbers_in_order(site: MadeSite) -> list[int]:
    """Return the numbers of the stories in the order of the list."""
    splits = [load_stories(site.dataset, split).story_ids for split in ("validation", "train", "test")]
    return [int(story_id[5:10]) for ids in splits for story_id in ids]


def test_who_types_sees_what_fits_and_can_share_it(many: MadeSite, look: Look) -> None:
    visit = look(many.url)
    visit.see(".card")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("zeppelin", delay=5)
    visit.see(".count", "1 of 3,000 stories")
    assert visit.run("location.hash") == "#/?q=zeppelin"
    assert visit.run("document.activeElement.id") == "find"
    assert visit.texts(".card .id") == ["film-01234_000"]
    visit.page.keyboard.press("Escape")
    visit.page.locator(".card").click()
    visit.see(".story")
    assert visit.run("location.hash") == "#/story/film-01234_000"
    visit.page.go_back()
    visit.see(".count", "1 of 3,000 stories")
    assert visit.page.locator("#find").input_value() == "zeppelin"
    visit.page.locator(".clear").click()
    visit.see(".count", "3,000 stories")


def test_filters_and_order_combine_and_stand_in_the_address(many: MadeSite, look: Look) -> None:
    kites = {number for number in range(NUM_STORIES) if number % 7 == 1 and number != 1234}
    teens = {number for number in kites if number % 3 == 1}
    long = {number for number in teens if 2 * (3 + number % 9) < 20}
    bears = {number for number in long if number % 5 == 1}
    assert len(kites) > len(teens) > len(long) > len(bears) > 1
    visit = look(many.url, "#/?q=kite&nonsense=1")
    visit.see(".count", f"{len(kites)} of 3,000 stories")
    visit.page.locator("[data-filter=rating]").select_option("teen")
    visit.see(".count", f"{len(teens)} of 3,000 stories")
    visit.page.locator("[data-filter=length]").select_option("-20")
    visit.see(".count", f"{len(long)} of 3,000 stories")
    visit.page.locator("[data-filter=sort]").select_option("longest")
    visit.until("document.querySelector('.card .length').textContent === '0:14'")
    assert visit.texts(".card .length") == ["0:14"] * 24
    visit.page.locator("[data-filter=character]").fill("Old Bear")
    visit.page.keyboard.press("Enter")
    visit.see(".count", f"{len(bears)} of 3,000 stories")
    address = visit.run("location.hash")
    said = {"q=kite", "rating=teen", "length=-20", "sort=longest", "character=Old+Bear"}
    assert set(address[3:].split("&")) == said
    again = look(many.url, address)
    again.see(".count", f"{len(bears)} of 3,000 stories")
    assert again.page.locator("[data-filter=rating]").input_value() == "teen"
    assert again.texts(".card .id") == visit.texts(".card .id")
    again.page.locator("[data-filter=sound]").check()
    again.see(".nothing", "No story fits.")
    visit.page.go_back()
    visit.see(".count", f"{len(long)} of 3,000 stories")
    assert visit.page.locator("[data-filter=character]").input_value() == ""


def test_the_way_from_story_to_story_follows_what_was_found(many: MadeSite, look: Look) -> None:
    visit = look(many.url, "#/?q=lantern&sort=most")
    visit.see(".count", "of 3,000 stories")
    first, second = visit.texts(".card .id")[:2]
    visit.page.locator(".card").first.click()
    visit.until("animeshooter.page && animeshooter.page.step")
    visit.page.keyboard.press("j")
    visit.until(f"animeshooter.page && animeshooter.page.id === '{second}'")
    visit.page.locator(".crumbs a").first.click()
    visit.see(".count", "of 3,000 stories")
    assert visit.run("location.hash") == "#/?q=lantern&sort=most"
    assert visit.texts(".card .id")[0] == first


def test_the_page_makes_words_of_a_text_as_the_index_does(many: MadeSite, look: Look) -> None:
    visit = look(many.file)
    visit.see(".card")
    texts = (
        "Zoë's CAFÉ_2, 東京タワー", "don't-stop 3.14 ½ x²", "مرحبا بالعالم", "Привет МИР ё й", "한국어 단어",
        "ﬁne ﬂow ŒUVRE ß",
        "हिन्दी", "a\u0301b\u200dc", "🎬film🎬", "ΣΊΣΥΦΟΣ", "İstanbul ISTANBUL", 
        "", "__--__", "ไทย ภาษา", "naïve—coöperate",
    )  # fmt: skip
    for text in texts:
        assert visit.run("(text) => animeshooter.wordsOf(text)", text) == words_of(text), text


def test_a_link_to_a_story_outlives_what_comes_before_it(many: MadeSite, look: Look, tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset", [told(2000), replace(story("a"), storyline="New.")], progress=False)
    for site in served(tmp_path / "dataset", tmp_path / "site"):
        for base in (site.url, many.url):
            visit = look(base, "#/story/film-02000_000?shot=2")
            visit.see(".storyline", "Tale 2000")
            visit.see(".now", "Shot 2 of")
