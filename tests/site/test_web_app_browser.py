"""The web app in a real browser, on the toy model: write, upload, watch, mend, take home; and nothing from outside."""

import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.modeling.state import StoryState

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from animeshooter_hf.modeling.web.story_session import Studio

LINES = """\
Mia wakes up in the garden and stretches in the sun of a long, warm morning.
Mia finds a red balloon.
Mia says 1 < 2 & waves."""
SLOW = 25_000
"""Milliseconds to wait for a condition on a machine that is busy."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, "Studio"]]:
    """The page, served from this process: its address, and what stands behind it."""
    pytest.importorskip("gradio", reason="needs the extra web")
    import torch

    from animeshooter_hf.modeling.testing import tiny_pipeline
    from animeshooter_hf.modeling.web.web_app import WebSettings, launch_page

    reached: set[str] = set()

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        """Note to whom this process talks; a hook of Python's own, which stays until the process ends."""
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            reached.add(str(arguments[1][0]))
        elif event == "socket.getaddrinfo":
            reached.add(str(arguments[0]))

    sys.addaudithook(heard)
    torch.set_num_threads(1)
    pipeline = tiny_pipeline(height=32, width=48)
    pipeline.set_progress_bar_config(disable=True)
    page, address = launch_page(pipeline, WebSettings(model="tiny"), block=False)
    yield address, page.studio
    page.close(verbose=False)
    assert reached - {"127.0.0.1", "localhost", "::1", "None"} == set()


@pytest.fixture(scope="module")
def address(served: tuple[str, "Studio"]) -> str:
    return served[0]


@pytest.fixture(scope="module")
def studio(served: tuple[str, "Studio"]) -> "Studio":
    return served[1]


@dataclass
class Visitor:
    """Somebody at the page, and all that went wrong for them."""

    page: "Page"
    address: str
    wrong: list[str] = field(default_factory=list)

    def write(self, lines: str = LINES, *, name: str = "", images: list[Path] | None = None, steps: int = 2) -> None:
        """Fill in the form."""
        self.at("#story textarea").fill(lines)
        if name:
            self.at("#name-0 input, #name-0 textarea").fill(name)
        if images:
            self.page.locator("#images-0 input[type=file]").set_input_files(images)
            self.see("#images-0 img")
        if not self.at("#steps input").is_visible():
            self.at("#settings button").click()
        self.at("#steps input").fill(str(steps))

    def at(self, selector: str) -> "Locator":
        return self.page.locator(selector).first

    def see(self, selector: str, text: str | None = None) -> None:
        self.page.locator(selector, has_text=text).first.wait_for(state="visible", timeout=SLOW)

    def finish(self, words: str) -> None:
        """Wait for the end of a run: what the status says, as many shots, and buttons that are free again."""
        self.see("#status", words)
        # The page shows the status and the shots in two updates, and a busy machine takes its time between them.
        done = int(next(word for word in words.split() if word.isdecimal()))
        self.page.wait_for_function(f"document.querySelectorAll('.ash-shot').length == {done}", timeout=SLOW)
        self.see("#project:not([disabled])")
        self.see("#generate:not([disabled])")
        self.page.locator("#stop").wait_for(state="hidden", timeout=SLOW)

    def take(self, selector: str, path: Path) -> Path:
        with self.page.expect_download(timeout=SLOW) as download:
            self.at(selector).click()
        download.value.save_as(path)
        return path

    def project(self, path: Path) -> StoryState:
        """Return the state in the project file that is offered."""
        with zipfile.ZipFile(self.take("#project", path)) as archive:
            archive.extractall(path.with_suffix(""))
        return StoryState.load(path.with_suffix(""))

    def captions(self) -> list[str]:
        return self.page.locator(".ash-shot .ash-caption").all_inner_texts()


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: "Browser", address: str) -> Iterator[Visit]:
    """Open the page as a visitor; at the end nothing may have gone wrong, and nothing been asked of another machine."""
    visitors: list[Visitor] = []

    def opened(**context: Any) -> Visitor:
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
        visitor = Visitor(page, address)

        def asked(url: str) -> None:
            if not url.startswith((address, "data:", f"blob:{address}")):
                visitor.wrong.append(f"outside: {url}")

        def failed(request: Any) -> None:
            if "ERR_ABORTED" not in (request.failure or ""):  # gradio hangs up its event streams itself
                visitor.wrong.append(f"failed: {request.url}")

        page.on("request", lambda request: asked(request.url))
        page.on("requestfailed", failed)
        page.on("console", lambda said: visitor.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visitor.wrong.append(str(error)))
        page.goto(address)
        visitor.see("#generate")
        visitors.append(visitor)
        return visitor

    yield opened
    for visitor in visitors:
        visitor.page.context.close()
    assert [visitor.wrong for visitor in visitors] == [[] for _ in visitors]


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("portraits") / "mia.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)).save(path)
    return path


def test_a_story_is_made_mended_and_taken_home(visit: Visit, portrait: Path, tmp_path: Path) -> None:
    visitor = visit()
    visitor.see(".ash-note", "The weights are random: the frames show nothing.")
    visitor.write(name="Mia", images=[portrait] * 3)
    # How many shots stood there, whenever that changed: they have to come one by one.
    visitor.page.evaluate(
        """() => { window.counts = [];
        new MutationObserver(() => { const now = document.querySelectorAll('.ash-shot').length;
            if (window.counts.at(-1) !== now) window.counts.push(now); })
        .observe(document.body, {childList: true, subtree: true}); }"""
    )
    visitor.at("#generate").click()
    visitor.finish("Done: 3 shots.")
    assert [count for count in visitor.page.evaluate("window.counts") if count] == [1, 2, 3]
    assert visitor.captions() == LINES.split("\n")
    visitor.page.wait_for_function("[...document.querySelectorAll('.ash-shot video')].every(v => v.readyState == 4)")
    clips = "[...document.querySelectorAll('.ash-shot video')].map(v => [v.duration, v.videoWidth, v.videoHeight])"
    assert visitor.page.evaluate(clips) == [[1.125, 48, 32]] * 3
    before = visitor.project(tmp_path / "before.zip")
    assert [len(images) for images in before.references.values()] == [3]

    visitor.page.locator("#mend-index label").nth(1).click()
    visitor.page.wait_for_function("document.querySelector('#mend-caption textarea').value.includes('red balloon')")
    visitor.at("#mend-caption textarea").fill("Mia finds a blue kite.")
    visitor.at("#mend-seed input, #mend-seed textarea").fill("5")
    visitor.at("#remake").click()
    visitor.see(".ash-shot", "Mia finds a blue kite.")
    visitor.finish("Done: 3 shots.")
    after = visitor.project(tmp_path / "after.zip")
    same = [np.array_equal(a.frames_FHW3, b.frames_FHW3) for a, b in zip(before.shots, after.shots, strict=True)]
    assert same == [True, False, True]
    assert (after.shots[1].seed, after.story.shots[1].caption) == (5, "Mia finds a blue kite.")

    with av.open(str(visitor.take("#film", tmp_path / "film.mp4"))) as film:
        frames = sum(1 for _ in film.decode(video=0))
        assert (frames, len(film.chapters())) == (27, 3)
        assert film.metadata["comment"].startswith("AI-generated by AnimeShooterGenPipeline")

    # On a phone nothing is wider than the screen.
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_wrong_stands_beside_its_field_and_goes_when_it_is_mended(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no image")
    visitor.write("", name="Mia")
    visitor.page.locator("#images-0 input[type=file]").set_input_files(tmp_path / "broken.png")
    visitor.at("#images-0 img").wait_for(state="attached", timeout=SLOW)
    visitor.at("#seed input, #seed textarea").fill("many")
    visitor.at("#num-frames input").fill("5")
    visitor.at("#generate").click()
    visitor.see("#error-story", "Write the story first")
    visitor.see("#error-character_0", "Picture 1: this is no image that can be read.")
    visitor.see("#error-seed", "The seed must be a whole number")
    visitor.see("#error-num_frames", "multiple of 8 plus 1")
    assert visitor.captions() == []
    visitor.at("#story textarea").fill("Mia runs.")
    visitor.at("#seed input, #seed textarea").fill("3")
    visitor.at("#generate").click()
    visitor.page.locator("#error-story").wait_for(state="hidden", timeout=SLOW)
    visitor.page.locator("#error-seed").wait_for(state="hidden", timeout=SLOW)
    visitor.see("#error-num_frames", "multiple of 8 plus 1")


def test_a_stopped_story_goes_on_in_another_visit_and_visitors_do_not_mix(
    visit: Visit, studio: "Studio", tmp_path: Path
) -> None:
    first = visit()
    first.write("A fox wakes up.\nThe fox runs.\nThe fox sleeps.")
    with studio.alone():  # as if somebody else's shot was being made
        first.at("#generate").click()
        first.at("#stop").click(timeout=SLOW)
        first.see("#status", "Stopping as soon as this shot is done.")
    first.finish("Stopped: 1 of 3 shots are done.")
    assert len(first.captions()) == 1
    first.take("#project", tmp_path / "stopped.zip")

    second = visit()
    assert second.captions() == []
    second.page.locator("input[type=file][accept*='.zip']").set_input_files(tmp_path / "stopped.zip")
    second.see("#status", "Opened story: 1 of 3 shots are done.")
    assert '"The fox sleeps."' in second.at("#story textarea").input_value()
    second.at("#continue").click(timeout=SLOW)
    second.finish("Done: 3 shots.")
    whole = second.project(tmp_path / "whole.zip")
    first.at("#continue").click(timeout=SLOW)
    first.finish("Done: 3 shots.")
    again = first.project(tmp_path / "again.zip")
    for one, other in zip(whole.shots, again.shots, strict=True):
        assert np.array_equal(one.frames_FHW3, other.frames_FHW3)

    (tmp_path / "foreign.zip").write_bytes(b"no zip")
    second.page.locator("input[type=file][accept*='.zip']").set_input_files(tmp_path / "foreign.zip")
    second.see("#status .ash-wrong", "This is no project file: the zip cannot be read.")
    assert len(second.captions()) == 3
