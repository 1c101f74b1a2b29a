"""The page of a study in a real browser, from disk: answer, stop, go on, take the votes home; nothing from outside."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_maker import make_predictions

from animeshooter_hf.eval.human.design import StudySettings
from animeshooter_hf.eval.human.study_key import read_key
from animeshooter_hf.eval.human.votes import read_votes
from animeshooter_hf.eval.human.write_study import PageSettings, write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
DIMENSIONS = ("OQ", "CRC", "MSC", "MCC")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium, chromium-browser or google-chrome on the PATH")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study: two stories, two systems, ratings and pairs, films of half a second."""
    root = tmp_path_factory.mktemp("study")
    made = make_predictions(root / "films", num_frames=3)
    settings = StudySettings(raters=3, num_stories=2, parts=("rating", "pair"), checks=1, seed=5)
    page = PageSettings(height=64, title="Films <b>& stories", contact="Send to lab@example.org")
    write_study(made, root / "out", root / "key.json", settings, page)
    return root / "out"


@dataclass
class Rater:
    """Somebody at the page, and all that went wrong for them."""

    page: "Page"
    root: str
    wrong: list[str] = field(default_factory=list)

    def until(self, script: str) -> None:
        """Wait for a condition. The page's policy forbids Playwright's own waiting, so it is asked again."""
        for _ in range(1000):
            if self.page.evaluate(f"Boolean({script})"):
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"It never came to be: {script}. Wrong: {self.wrong}")

    def begin(self, number: int | None = None) -> None:
        """Give consent, and a number unless the address has it."""
        if number is not None:
            self.page.fill("#rater", str(number))
        self.page.check("#consent")
        self.page.click("#begin")

    @property
    def task(self) -> str | None:
        """Neutral name of the task on the screen."""
        return self.page.evaluate("document.querySelector('[data-task]')?.dataset.task ?? null")

    def watch(self) -> None:
        """Play every film to its end, one after the other, fast."""
        for at in range(self.page.locator("video").count()):
            self.page.locator("video").nth(at).evaluate("(film) => { film.playbackRate = 4; void film.play(); }")
            self.until(f"document.querySelectorAll('.seen')[{at}].textContent === 'Seen'")

    def answer(self, digit: int) -> None:
        """Answer every question of the screen with a key."""
        for _ in DIMENSIONS:
            self.page.keyboard.press(str(digit))

    def finish(self) -> dict[str, int]:
        """Do every task that is left: 4 for ratings, the second side for pairs. Returns what was given."""
        given: dict[str, int] = {}
        while (task := self.task) is not None:
            digit = 4 if self.page.locator("video").count() == 1 else 2
            self.watch()
            self.answer(digit)
            given[task] = digit
            self.page.keyboard.press("Enter")
            self.until(f"(document.querySelector('[data-task]')?.dataset.task ?? '') !== '{task}'")
        return given

    def problem(self) -> str:
        return self.page.inner_text("#problem")

    def saved(self) -> dict[str, Any]:
        """Save the file and read it."""
        with self.page.expect_download() as download:
            self.page.click("#download")
        return json.loads(Path(download.value.path()).read_text())


@pytest.fixture
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield opened
    opened.close()


@pytest.fixture
def visit(context: "BrowserContext", study: Path) -> Iterator[Callable[..., Rater]]:
    """Open the page from disk; at the end nothing may have gone wrong."""
    raters: list[Rater] = []

    def opened(address: str = "", folder: Path = study) -> Rater:
        page = context.new_page()
        rater = Rater(page, folder.as_uri())

        def asked(url: str) -> None:
            if not url.startswith((rater.root, "data:", "blob:")):
                rater.wrong.append(f"outside: {url}")

        page.on("request", lambda request: asked(request.url))
        page.on("console", lambda said: rater.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: rater.wrong.append(str(error)))
        raters.append(rater)
        page.goto(f"{folder.as_uri()}/index.html{address}")
        return rater

    yield opened
    assert [rater.wrong for rater in raters] == [[] for _ in raters]


def test_a_rater_answers_everything_by_keyboard_and_the_votes_are_saved_copied_and_read(
    visit: Callable[..., Rater], study: Path, tmp_path: Path
) -> None:
    rater = visit("#rater=2")
    assert rater.page.inner_text("h1") == "Films <b>& stories"
    rater.begin()
    given = rater.finish()
    key = read_key(study.parent / "key.json")
    assert list(given) == list(key.orders[1])
    assert "lab@example.org" in rater.page.inner_text("main")
    votes = rater.saved()
    rater.page.click("#copy")
    rater.until("document.getElementById('told').textContent === 'Copied.'")
    assert json.loads(rater.page.input_value("#votes")) == votes
    assert votes["finished"] is True
    for vote in votes["votes"]:
        wanted = {4: 4, 2: "tie"}[given[vote["task"]]]
        assert vote["answers"] == dict.fromkeys(DIMENSIONS, wanted)
        assert min(vote["watched"]) >= 0.9
        assert vote["seconds"] > 0
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(votes))
    book = read_votes([file], key)
    assert book.problems == {}
    assert book.raters[0].num_votes == len(key.orders[1])
    assert {vote.answers["OQ"] for vote in book.votes} <= {4, "tie"}


def test_progress_survives_closing_the_page_and_each_number_has_its_own(visit: Callable[..., Rater]) -> None:
    first = visit()
    first.begin(1)
    started = first.task
    first.watch()
    first.answer(3)
    first.page.click("#next")
    second_task = first.task
    assert started != second_task
    first.page.close()
    again = visit()
    assert again.page.input_value("#rater") == "1"
    again.begin()
    assert again.task == second_task
    assert again.page.inner_text("#count").startswith("1 of")
    again.page.click("#back")
    assert again.task == started
    assert again.page.locator("input:checked").evaluate_all("found => found.map((one) => one.value)") == ["3"] * 4
    other = visit("?rater=3")
    other.begin()
    assert other.page.inner_text("#count").startswith("0 of")


def test_going_back_changes_an_answer_and_does_not_add_one(visit: Callable[..., Rater]) -> None:
    rater = visit("#rater=1")
    rater.begin()
    started = rater.task
    rater.watch()
    rater.answer(3)
    rater.page.keyboard.press("Enter")
    rater.until(f"document.querySelector('[data-task]').dataset.task !== '{started}'")
    rater.page.keyboard.press("Backspace")
    rater.until(f"document.querySelector('[data-task]').dataset.task === '{started}'")
    rater.page.locator('fieldset[data-key="MSC"] label').nth(4).click()
    rater.page.click("#next")
    with rater.page.expect_download() as download:
        rater.page.click("#save-now")
    votes = json.loads(Path(download.value.path()).read_text())
    assert votes["finished"] is False
    assert [vote["task"] for vote in votes["votes"]] == [started]
    assert votes["votes"][0]["answers"] == {"OQ": 3, "CRC": 3, "MSC": 5, "MCC": 3}


def test_nothing_goes_on_without_consent_a_number_all_answers_and_the_whole_film(visit: Callable[..., Rater]) -> None:
    rater = visit()
    rater.page.click("#begin")
    assert "number" in rater.problem()
    rater.page.fill("#rater", "0")
    rater.page.click("#begin")
    assert "number" in rater.problem()
    rater.page.fill("#rater", "7")
    rater.page.click("#begin")
    assert "tick the box" in rater.problem()
    rater.page.check("#consent")
    rater.page.click("#begin")
    task = rater.task
    rater.page.keyboard.press("5")
    rater.page.click("#next")
    assert "every question" in rater.problem()
    assert rater.page.locator("fieldset.missing").count() == 3
    for _ in range(3):
        rater.page.keyboard.press("5")
    rater.page.click("#next")
    assert "to the end" in rater.problem()
    assert rater.task == task
    rater.watch()
    rater.page.click("#next")
    rater.until(f"document.querySelector('[data-task]').dataset.task !== '{task}'")


def test_two_films_can_be_played_together(visit: Callable[..., Rater], study: Path, tmp_path: Path) -> None:
    made = make_predictions(tmp_path / "films", num_frames=3)
    settings = StudySettings(raters=1, num_stories=1, parts=("pair",), checks=0)
    write_study(made, tmp_path / "pairs", tmp_path / "key.json", settings, PageSettings(height=64))
    rater = visit("#rater=1", tmp_path / "pairs")
    rater.begin()
    assert rater.page.locator(".film figcaption").all_inner_texts() == ["A", "B"]
    rater.page.click("#together")
    rater.until("[...document.querySelectorAll('.seen')].every((one) => one.textContent === 'Seen')")


def test_a_film_that_does_not_play_can_be_left_and_is_counted(
    visit: Callable[..., Rater], study: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(study, broken)
    for film in (broken / "films").iterdir():
        film.write_bytes(b"no film")
    rater = visit("#rater=1", broken)
    rater.begin()
    while rater.task is not None:
        task = rater.task
        rater.page.locator("#skip").wait_for(state="visible")
        rater.answer(2)
        rater.page.click("#next")
        assert "does not play" in rater.problem()
        rater.page.click("#skip")
        rater.until(f"(document.querySelector('[data-task]')?.dataset.task ?? '') !== '{task}'")
    votes = rater.saved()
    assert all(vote["answers"] is None for vote in votes["votes"])
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(votes))
    key = read_key(study.parent / "key.json")
    book = read_votes([file], key)
    assert (book.votes, book.raters[0].num_unplayable) == ((), len(key.orders[0]))
    assert not [wrong for wrong in rater.wrong if "ERR_" not in wrong and "Failed to load" not in wrong]
    rater.wrong.clear()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: "Browser", study: Path) -> None:
    opened = browser.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    rater = Rater(opened.new_page(), study.as_uri())
    rater.page.goto(f"{study.as_uri()}/index.html#rater=1")
    for _ in range(2):
        assert rater.page.evaluate("document.documentElement.scrollWidth") <= 360
        if rater.task is None:
            rater.begin()
    for label in rater.page.locator(".scale label").all():
        box = label.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["width"] >= 40
    opened.close()


def test_a_browser_that_keeps_nothing_is_named_to_the_rater(browser: "Browser", study: Path) -> None:
    opened = browser.new_context()
    opened.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } })")
    rater = Rater(opened.new_page(), study.as_uri())
    rater.page.goto(f"{study.as_uri()}/index.html#rater=1")
    rater.begin()
    assert "keeps nothing" in rater.page.inner_text("main")
    opened.close()
