"""A real browser that looks at sites, and a site to look at."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging_stories import Films, film

sys.path.insert(0, str(Path(__file__).parent))
from site_visits import Look, MadeSite, Visit, hostile_story, served, tell

from animeshooter_hf.dataset_builder.package import write_dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium; one per module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium, chromium-browser or google-chrome on the PATH")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def look(browser: "Browser") -> Iterator[Look]:
    """Open a site as a reader would; at the end nothing may have gone wrong unless the test emptied `wrong`."""
    visits: list[Visit] = []

    def opened(base: str, address: str = "", **context: Any) -> Visit:
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
        root = base.removesuffix("index.html")
        visit = Visit(page, base)

        def asked(url: str) -> None:
            visit.requests.append(url.removeprefix(root))
            if not url.startswith((root, "data:", "blob:")):
                visit.wrong.append(f"outside: {url}")

        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                visit.wrong.append(message.text)

        def failed(request: Any) -> None:
            if "ERR_ABORTED" not in (request.failure or ""):  # a player that has enough of a clip
                visit.wrong.append(f"failed: {request.url}")

        page.on("request", lambda request: asked(request.url))
        page.on("requestfailed", failed)
        page.on("console", said)
        page.on("pageerror", lambda error: visit.wrong.append(str(error)))
        visits.append(visit)
        visit.go(address)
        return visit

    yield opened
    for visit in visits:
        visit.page.context.close()
    assert [visit.wrong for visit in visits] == [[] for _ in visits]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeSite]:
    """A site of three stories with clips, references and sound, and of one with the worst of texts."""
    root = tmp_path_factory.mktemp("shown")
    films = root / "films"
    films.mkdir()
    for name in ("v", "w"):
        film(films, name)
    told = [
        tell("v", 0, storyline="Mia finds a lost balloon.", url="https://www.youtube.com/watch?v=LvJRvwIDh0E"),
        tell("v", 1, storyline="Zoë goes to the café.", rating="general"),
        tell("w", 0, storyline="A quiet evening in the old barn.", rating="teen", license="CC-BY-4.0"),
        hostile_story("v"),
    ]
    write_dataset(root / "dataset", told, media=Films(films), progress=False)
    yield from served(root / "dataset", root / "site")
