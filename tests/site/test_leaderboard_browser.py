"""The leaderboard in a real Chromium: sort, filter, look closer, links, the way back, fifty systems, hostile texts."""

import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from site_visits import HOSTILE, Look

sys.path.insert(0, str(Path(__file__).parents[1] / "eval"))
from results_maker import Maker

from animeshooter_hf.eval.leaderboard.board_site import BoardSettings, compare, write_board_site
from animeshooter_hf.eval.leaderboard.ranking import make_boards
from animeshooter_hf.eval.leaderboard.read_results import find_results, read_paper_rows, read_results
from animeshooter_hf.site.site_server import site_server

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
NAMES = ".board-main tbody th.system > a"
FIDELITY = "reference_fidelity.harmean_p"
RETRIEVAL = "reference_fidelity.retrieval_at_1"


@dataclass(frozen=True)
class Made:
    """A board, on disk and over HTTP."""

    root: Path
    url: str

    @property
    def file(self) -> str:
        """Its page on disk."""
        return (self.root / "index.html").as_uri()


def served(runs: Path, root: Path) -> Iterator[Made]:
    """Make the board of all runs in a folder and serve it."""
    found = [read_results(path) for path in find_results([runs])]
    boards = make_boards([*found, *read_paper_rows()])
    write_board_site(root, [compare(board, draws=500) for board in boards], BoardSettings(title="Board of a test"))
    with site_server(root) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Made(root, f"http://127.0.0.1:{server.server_address[1]}/index.html")
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Three models, one that fails, an attack, the truth, another signature, another track, a hostile system."""
    root = tmp_path_factory.mktemp("board")
    long = {"id": "lab/AnimeShooter-Bench", "revision": "1", "track": "long"}
    makers = [
        Maker(name="lab/Amber", level=0.75, seed=1, ips=8, system={"revision": "0a1b2c3d4e5f"}),
        Maker(name="lab/Basalt", level=0.65, seed=2, ips=8, system={"license": "openrail"}),
        Maker(name="lab/Coral", level=0.648, seed=3, ips=8),
        Maker(name="lab/Still", level=0.9, seed=4, ips=8, gated_by="static"),
        Maker(name="frozen frame", level=0.8, seed=5, ips=8, kind="adversarial", gated_by="static"),
        Maker(name="truth", level=0.95, seed=6, ips=8, kind="truth"),
        Maker(name="lab/Other", level=0.6, seed=7, ips=8, signatures={"reference_fidelity": "reffid|ccip@1|v2"}),
        Maker(name="lab/Amber", level=0.5, seed=8, ips=3, benchmark=long),
        hostile(),
    ]  # fmt: skip
    for number, maker in enumerate(makers):
        maker.write_folder(root / "runs" / f"run{number}")
    yield from served(root / "runs", root / "site")


def hostile() -> Maker:
    """A system whose every text tries to get out of the page."""
    plain = Maker(name=HOSTILE, level=0.4, seed=9, ips=8, gated_by="static")
    document = plain.document()
    stories = [{**story, "captions": [HOSTILE] * 4, "flags": [HOSTILE]} for story in document["stories"]]
    gates = [{**gate, "control": HOSTILE + gate["control"], "limit": HOSTILE} for gate in document["gates"]]
    shots = [{**shot, "problems": {"reference_fidelity": HOSTILE}} for shot in document["shots"]]
    facts = dict.fromkeys(("revision", "license", "sampled_by", "evaluated_by", "notes"), HOSTILE)
    return Maker(
        name=HOSTILE, level=0.4, seed=9, ips=8, system={**facts, "url": "javascript:window.hacked=1"},
        changes={
            "stories": stories, "gates": gates, "shots": shots, "note": HOSTILE,
            "manifest": {"library_versions": {HOSTILE: HOSTILE}, "judge": {"is_trusted": False, "exam": HOSTILE}},
        },
    )  # fmt: skip


@pytest.mark.parametrize("way", ["file", "url"])
def test_the_board_opens_from_disk_and_over_http_sorted_by_the_headline(board: Made, look: Look, way: str) -> None:
    visit = look(getattr(board, way))
    visit.see(".board-main .place")
    assert visit.texts(NAMES)[:3] == ["lab/Amber", "lab/Basalt", "lab/Coral"]
    assert visit.texts(".board-main .place") == ["1", "2", "3"]
    assert visit.run("document.querySelector('.board-main th[aria-sort]').textContent").startswith("HarMeanP")
    assert [one for one in visit.requests if one.startswith("data/") and not one.startswith("data/site/")] == []


def test_what_is_not_ranked_stands_below_with_its_reason(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.see(".section")
    assert [text.split()[0] for text in visit.texts(".board-main .section")] == ["Gated", "Truth", "Attacks"]
    assert "fails static" in visit.texts(".board-main tr.is-gated")[0]
    assert visit.page.locator(".board-main tr.is-gated .place").count() == 0
    assert "attack" in visit.texts(".board-main tr.is-adversarial")[0]


def test_a_head_sorts_and_sorts_back_and_the_address_follows(board: Made, look: Look) -> None:
    visit = look(board.url)
    head = f'.board-main [data-sort="{FIDELITY}"]'
    visit.page.locator(head).click()
    visit.until("location.hash === '#/?dir=r'")
    assert visit.texts(NAMES)[:3] == ["lab/Coral", "lab/Basalt", "lab/Amber"]
    assert visit.run("document.activeElement.dataset.sort") == FIDELITY
    visit.page.locator('.board-main [data-sort="name"]').click()
    visit.until("location.hash === '#/?sort=name'")
    assert visit.page.locator(".board-main th[aria-sort=ascending]").count() == 1
    visit.page.go_back()
    visit.page.go_back()
    visit.until("location.hash === ''")
    assert visit.texts(NAMES)[0] == "lab/Amber"


def test_one_list_by_value_puts_the_attacks_among_the_models_without_ranks(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.page.locator("[data-filter=mix]").check()
    visit.until("location.hash === '#/?mix=1'")
    assert visit.texts(NAMES)[:4] == ["truth", "lab/Still", "frozen frame", "lab/Amber"]
    assert visit.texts(".board-main .place") == ["1", "2", "3"]


def test_filters_narrow_and_stand_in_the_address(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("openrail", delay=5)
    visit.until("document.querySelectorAll('.board-main tbody th.system').length === 1")
    assert visit.run("location.hash") == "#/?q=openrail"
    assert visit.texts(NAMES) == ["lab/Basalt"]
    visit.go("#/?kind=adversarial")
    visit.until("document.querySelector('[data-filter=kind]').value === 'adversarial'")
    assert visit.texts(NAMES) == ["frozen frame"]
    visit.go("#/?q=nobody")
    visit.see(".nothing-here")


def test_neighbours_that_cannot_be_told_apart_are_marked_and_the_note_says_why(board: Made, look: Look) -> None:
    visit = look(board.url)
    assert [text.split()[0] for text in visit.texts(".board-main .tie")] == ["≈"]
    visit.page.locator(".board-main .tie").hover()
    visit.see("#tip", "lab/Basalt and lab/Coral cannot be told apart")
    assert visit.page.locator(".board-main .apart").count() == 1
    visit.go("#/?kind=gated")
    visit.until("document.querySelectorAll('.board-main .tie').length === 0")


def test_another_signature_is_another_column_and_another_ranking(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.see(".cautions", "different signatures")
    assert "ccip@1" in " ".join(visit.texts(".board-main .variant"))
    visit.go(f"#/?sort={FIDELITY}.2")
    visit.until("document.querySelector('.board-main .place')")
    assert visit.texts(".board-main .place") == ["1"]
    assert visit.texts(NAMES)[0] == "lab/Other"


def test_a_track_is_a_board_of_its_own(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.page.locator(".tabs a", has_text="long").click()
    visit.until("document.querySelectorAll('.board-main tbody th.system').length === 1")
    visit.see(".facts-line", "3 characters")
    visit.page.locator(NAMES).click()
    visit.see(".system-page h1", "lab/Amber")
    visit.page.locator(".crumbs a").click()
    visit.see(".tabs a[aria-current]", "long")


def test_columns_are_chosen_with_their_meaning_and_stay_in_the_link(board: Made, look: Look) -> None:
    visit = look(board.url)
    heads = visit.page.locator(".board-main thead .sort")
    before = heads.count()
    visit.page.locator("#open-chooser").click()
    visit.see("#chooser", "Lower is better.")
    visit.page.locator("#chooser .choose", has_text="Spread").first.click()
    visit.until(f"document.querySelectorAll('.board-main thead .sort').length === {before + 1}")
    link = visit.run("location.hash")
    visit.page.keyboard.press("Escape")
    visit.go("#/")
    visit.until(f"document.querySelectorAll('.board-main thead .sort').length === {before}")
    visit.go(link)
    visit.until(f"document.querySelectorAll('.board-main thead .sort').length === {before + 1}")


def test_the_papers_rows_stand_apart_and_sort_by_themselves(board: Made, look: Look) -> None:
    visit = look(board.url)
    names = "#reported tbody th.system > a"
    assert visit.texts(names) == ["AnimeShooterGen", "IP-Adapter + I2V", "CogVideo-LoRA"]
    assert visit.page.locator("#reported .place").count() == 0
    visit.page.locator('#reported [data-sort="paper_dreamsim.harmean_p"]').click()
    visit.page.locator('#reported [data-sort="paper_dreamsim.harmean_p"]').click()
    assert visit.texts(names)[0] == "CogVideo-LoRA"
    assert visit.run("location.hash") == ""


def test_a_systems_page_shows_controls_curves_characters_and_stories(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.page.locator(NAMES).first.click()
    visit.see(".system-page h1", "lab/Amber")
    assert visit.run("location.hash") == "#/system/lab%2FAmber%400a1b2c3d4e5f"
    assert visit.page.locator(".curve .dot-own").count() == 8  # two numbers, four shots
    assert "shot 1: " in (visit.page.locator(".curve").first.get_attribute("aria-label") or "")
    assert visit.page.locator(".stories-table tbody tr").count() == 24
    assert len([one for one in visit.requests if one.startswith("data/systems/")]) == 1
    visit.page.locator(f'.stories-table [data-sort="{FIDELITY}"]').click()
    shown = [float(text) for text in visit.texts(".stories-table tbody td.number:nth-of-type(3)")]
    assert shown == sorted(shown, reverse=True)
    visit.page.go_back()
    visit.see(".board-main .place")


def test_a_story_is_seen_side_by_side_and_can_be_linked(board: Made, look: Look) -> None:
    visit = look(board.url, "#/story/ip01-story02?with=lab%2FBasalt~frozen+frame")
    visit.see(".story-page h1", "ip01-story02")
    assert visit.texts(".panel-card h3") == ["lab/Basalt", "frozen frame"]
    assert visit.texts(".captions")[0].splitlines()[0].endswith("Shot 1 of ip01-story02.")
    visit.until(
        "[...document.querySelectorAll('.panel-card img')].every((one) => one.complete && one.naturalWidth > 0)"
    )
    assert "static" in visit.texts(".panel-card.is-adversarial .chips")[0]
    visit.page.locator(".picker .switch", has_text="lab/Coral").click()
    visit.until("document.querySelectorAll('.panel-card').length === 3")
    visit.page.locator(".page-step[rel=next]").click()
    visit.see(".story-page h1", "ip02-story00")
    assert len(visit.texts(".panel-card h3")) == 3
    visit.page.go_back()
    visit.see(".story-page h1", "ip01-story02")


def test_pictures_are_loaded_when_they_come_into_view(board: Made, look: Look) -> None:
    visit = look(board.url, "#/system/lab%2FBasalt", viewport={"width": 1200, "height": 500})
    visit.see(".stories-table")
    assert visit.page.locator(".stories-table img").count() == 24
    assert visit.page.locator(".stories-table img:not([loading=lazy])").count() == 0


@pytest.mark.parametrize("address", ["#/system/nobody", "#/story/nothing", "#/story/%E0%A4%A", "#/system/x?board=none"])
def test_an_address_of_nothing_says_so_and_leads_back(board: Made, look: Look, address: str) -> None:
    visit = look(board.url, address)
    visit.see(".nothing", "There is no")
    visit.page.locator(".nothing a").click()
    visit.see(".board-main .place")


def test_a_file_that_is_gone_is_said(board: Made, look: Look, tmp_path: Path) -> None:
    shutil.copytree(board.root, tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "data" / "systems")
    visit = look((tmp_path / "site" / "index.html").as_uri(), "#/system/lab%2FBasalt")
    visit.see(".nothing", "cannot be loaded")
    visit.wrong.clear()


def test_no_text_gets_out_of_the_page(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.see(NAMES, "window.hacked")
    visit.page.locator(NAMES, has_text="window.hacked").click()
    visit.see(".system-page h1", "window.hacked")
    assert visit.page.locator("a[href^='javascript']").count() == 0
    visit.page.locator(".story-link").first.click()
    visit.see(".panel-card h3", "window.hacked")
    assert visit.run("[typeof window.hacked, document.querySelectorAll('img[onerror], main script').length]") == [
        "undefined",
        0,
    ]
    assert "judge not trusted" in " ".join(look(board.url).texts(".chip"))


@pytest.mark.parametrize("address", ["", "#/system/lab%2FAmber%400a1b2c3d4e5f", "#/story/ip01-story02"])
def test_on_a_phone_nothing_but_tables_is_wider_than_the_screen(board: Made, look: Look, address: str) -> None:
    visit = look(board.url, address, **PHONE)
    visit.until("document.querySelector('main').childElementCount && !document.querySelector('main[aria-busy]')")
    assert visit.run("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_by_day_and_by_night(board: Made, look: Look, scheme: str) -> None:
    visit = look(board.url, color_scheme=scheme)
    visit.see(".board-main .place")
    ratio = visit.run("""() => {
      const part = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
      const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((one) => part(one / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const under = light(getComputedStyle(document.querySelector('.board-main .system')).backgroundColor);
      const against = (selector) => {
        const ink = light(getComputedStyle(document.querySelector(selector)).color);
        return (Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05);
      };
      return ['th.system a', '.org', '.muted .value', '.chip.fails', '.chip.adversarial', '.range'].map(against);
    }""")
    assert min(ratio) >= 4.5


def test_by_the_keyboard_alone_one_sorts_and_opens_a_system(board: Made, look: Look) -> None:
    visit = look(board.url)
    visit.page.locator(f'.board-main [data-sort="{RETRIEVAL}"]').focus()
    visit.see("#tip", "Higher is better.")
    visit.page.keyboard.press("Enter")
    visit.until(f"location.hash === '#/?sort={RETRIEVAL}'")
    visit.page.locator(NAMES).first.focus()
    visit.page.keyboard.press("Enter")
    visit.see(".system-page")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Fifty systems."""
    root = tmp_path_factory.mktemp("large")
    for number in range(50):
        maker = Maker(name=f"lab/m{number:02d}", level=0.7 - 0.003 * number, seed=number, ips=6, stories_per_ip=4)
        maker.write(root / "runs" / f"{number:02d}" / "results.json")
    yield from served(root / "runs", root / "site")


def test_fifty_systems_sort_and_open_with_one_file_each(large: Made, look: Look) -> None:
    visit = look(large.url)
    visit.see(".board-main .place", "50")
    assert "null" not in visit.texts("main")[0]
    first = [one for one in visit.requests if one.startswith("data/")]
    assert [one.split("/")[1] for one in first] == ["site"]
    for key in ("name", RETRIEVAL, "reference_fidelity.mean", FIDELITY):
        visit.page.locator(f'.board-main [data-sort="{key}"]').click()
        visit.until(f"document.querySelector('.board-main .sorted [data-sort=\"{key}\"]')")
        assert visit.page.locator(".board-main tbody th.system").count() == 50
    assert [one for one in visit.requests if one.startswith("data/")] == first
    visit.page.locator(NAMES).nth(30).click()
    visit.see(".system-page")
    visit.page.locator(".story-link").nth(20).click()
    visit.see(".story-page")
    assert [one.split("/")[1] for one in visit.requests if one.startswith("data/")] == [
        "site",
        "systems",
        "lists",
        "side",
    ]
    assert visit.page.locator(".picker .switch").count() == 50
