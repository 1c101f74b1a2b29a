"""A reader of a site, and stories to make a site of."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging_stories import story

from animeshooter_hf import Story
from animeshooter_hf.loading import load_stories
from animeshooter_hf.site.site_server import site_server
from animeshooter_hf.site.write_site import SiteSettings, write_site

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<script>window.hacked = 1</script> \"'><img src=x onerror='window.hacked = 1'> </script> \u202eabc مرحبا 🎬 "


@dataclass
class Visit:
    """A page of a site that somebody looks at, and all that it asked for."""

    page: "Page"
    base: str
    requests: list[str] = field(default_factory=list)
    """Addresses, relative to the site where they are of it."""
    wrong: list[str] = field(default_factory=list)
    """Errors of the console, uncaught exceptions, requests that failed or went elsewhere."""

    def go(self, address: str) -> None:
        """Go to a view of the site, such as "#/story/v_000"."""
        self.page.goto(f"{self.base}{address}")

    def run(self, script: str, argument: Any = None) -> Any:
        """Return what a script of the test computes in the page."""
        return self.page.evaluate(script, argument)

    def until(self, script: str) -> None:
        """Wait for a condition. Playwright's own waiting is forbidden by the page's policy, so it is asked again."""
        for _ in range(1000):
            if self.page.evaluate(f"Boolean({script})"):
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"It never came to be: {script}. Wrong: {self.wrong}")

    def see(self, selector: str, text: str | None = None) -> None:
        """Wait for an element that can be seen, with a text if one is given."""
        self.page.locator(selector, has_text=text).first.wait_for(state="visible", timeout=10_000)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements."""
        return self.page.locator(selector).all_inner_texts()


Look = Callable[..., Visit]


@dataclass(frozen=True)
class MadeSite:
    """A site, on disk and over HTTP."""

    root: Path
    dataset: Path
    url: str

    @property
    def file(self) -> str:
        """Its page on disk."""
        return (self.root / "index.html").as_uri()


def tell(video_id: str, number: int = 0, **changes: Any) -> Story:
    """A story of the packaging tests with another text."""
    return replace(story(video_id, number), **changes)


def hostile_story(video_id: str) -> Story:
    """A story whose every text tries to get out of the page."""
    plain = story(video_id, 7)
    texts = {"narrative_caption": HOSTILE, "descriptive_caption": HOSTILE + "x" * 10_000, "scene": HOSTILE}
    name = HOSTILE + "ab" * 400
    shots = [replace(shot, **texts, characters=(name,)) for shot in plain.shots]
    people = [replace(plain.characters[0], id=name, appearance=HOSTILE * 50)]
    places = [replace(plain.scenes[0], id=HOSTILE, environment=HOSTILE * 50)]
    references = [replace(one, character_id=name) for one in plain.references]
    return replace(
        plain, storyline=HOSTILE + "y" * 10_000, url="javascript:window.hacked=1", license=HOSTILE, shots=tuple(shots),
        characters=tuple(people), scenes=tuple(places), references=tuple(references), rating=None,
    )  # fmt: skip


def served(dataset: Path, root: Path, **settings: Any) -> Iterator[MadeSite]:
    """Make a site of a dataset and serve it."""
    splits = sorted({path.name.split("-")[0] for path in (dataset / "stories").glob("*.parquet")}, reverse=True)
    views = {split: load_stories(dataset, split) for split in splits}
    write_site(root, views, SiteSettings(title="Stories of a test", **settings))
    with site_server(root) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield MadeSite(root, dataset, f"http://127.0.0.1:{server.server_address[1]}/index.html")
        server.shutdown()
        thread.join()
