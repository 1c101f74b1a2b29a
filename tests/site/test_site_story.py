"""A story's page in a real Chromium: it plays, follows, shows masks, is heard, and lets no text out."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from packaging_stories import MASK, story
from site_visits import HOSTILE, Look, MadeSite, served, tell

from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.masks import RleMask

PLAYING = "document.querySelector('.frame video.shown')"
ALPHA = """(canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return Array.from(data).filter((_, at) => at % 4 === 3);
}"""
IS_REFUSED = """(counts) => {
  try { animeshooter.decodeMask({ size: [4, 5], counts }); return false; } catch { return true; }
}"""
TOO_WIDE = """[...document.querySelectorAll('main *, header *')].filter((one) => {
  const box = one.getBoundingClientRect();
  const isPlaced = getComputedStyle(one).position === 'absolute' || one.closest('.line, svg');
  return box.width && box.right > innerWidth + 1 && !isPlaced;
}).map((one) => one.outerHTML.slice(0, 120))"""
CONTRAST = """(selector) => {
  const part = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((one) => part(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ink = light(getComputedStyle(document.querySelector(selector)).color);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("way", ["file", "url"])
def test_a_story_plays_from_shot_to_shot_by_itself_from_disk_and_over_http(
    shown: MadeSite, look: Look, way: str
) -> None:
    visit = look(getattr(shown, way), "#/story/v_000?shot=3")
    visit.see(".now", "Shot 3 of 4")
    visit.page.keyboard.press(" ")
    visit.until(f"{PLAYING}.currentTime > 0.1 && !{PLAYING}.paused")
    visit.see(".now", "Shot 4 of 4")
    visit.until("!document.querySelector('.frame').classList.contains('playing')")
    assert visit.run("location.hash") == "#/story/v_000?shot=4"
    visit.page.keyboard.press(" ")  # from the beginning
    visit.see(".now", "Shot 1 of 4")
    visit.until(f"{PLAYING}.currentTime > 0.1")


def test_a_jump_works_on_a_server_that_answers_no_ranges(shown: MadeSite, look: Look) -> None:
    class Plain(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(shown.root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        visit = look(f"http://127.0.0.1:{server.server_address[1]}/index.html", "#/story/v_000")
        visit.until(f"{PLAYING} && {PLAYING}.readyState >= 1")
        assert not visit.run(f"animeshooter.canSeek({PLAYING})")
        visit.page.locator(".tile").nth(1).click()  # frame 20, which is frame 8 of shot 2
        visit.until(f"Math.abs({PLAYING}.currentTime - 8.5 / 24) < 0.01")
        visit.until("document.querySelector('.over').classList.contains('shown')")
        visit.page.keyboard.press(" ")
        visit.see(".now", "Shot 3 of 4")
        server.shutdown()


def test_the_next_clip_is_asked_for_while_one_is_shown(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000")
    visit.until(f"{PLAYING} && document.querySelector('.frame video:not(.shown)').readyState >= 1")
    assert len({one for one in visit.requests if one.endswith(".mp4")}) == 2


def test_a_link_opens_a_story_at_its_shot_and_follows_the_steps(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000?shot=3&what=unknown")
    visit.see(".now", "Shot 3 of 4")
    visit.see(".now .narrative", "Mia does 2.")
    visit.page.keyboard.press("ArrowLeft")
    visit.see(".now .narrative", "Mia does 1.")
    assert visit.run("location.hash") == "#/story/v_000?shot=2"
    visit.go("#/story/v_000?shot=99")
    visit.see(".now", "Shot 4 of 4")


def test_a_story_that_is_not_there_is_said_to_be_gone(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/gone_000")
    visit.see("h1", "This story is not here.")
    assert visit.wrong
    visit.wrong.clear()  # the file that is not there


def test_the_masks_over_a_picture_and_over_the_player_are_those_of_the_run_lengths(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000")
    visit.see(".tile")
    visit.until("document.querySelector('.tile').dataset.drawn === 'mask'")
    alpha = np.array(visit.page.locator(".tile .tile-mask").first.evaluate(ALPHA)).reshape(MASK.shape)
    np.testing.assert_array_equal(alpha > 0, MASK)
    visit.page.locator(".tile").nth(1).click()  # frame 20, which is frame 8 of shot 2
    visit.see(".now", "Shot 2 of 4")
    visit.until("document.querySelector('.over').classList.contains('shown')")
    alpha = np.array(visit.page.locator(".over").evaluate(ALPHA)).reshape(MASK.shape)
    np.testing.assert_array_equal(alpha > 0, MASK)
    visit.page.keyboard.press("m")
    visit.until("!document.querySelector('.over').classList.contains('shown')")
    assert visit.run("document.querySelector('.tile').dataset.view") == "frame"


def test_a_cut_out_is_the_picture_inside_of_the_mask_and_nothing_outside(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000")
    visit.see(".tile")
    visit.page.locator(".choice button", has_text="Cut-out").click()
    visit.until("document.querySelector('.tile').dataset.drawn === 'cutout'")
    pixels = visit.page.locator(".tile .tile-mask").first.evaluate(
        "(canvas) => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
    )
    rgba = np.array(pixels).reshape(*MASK.shape, 4)
    np.testing.assert_array_equal(rgba[..., 3] > 0, MASK)
    assert abs(int(rgba[15, 25, 1]) - (10 + 4 * 5)) <= 6  # the film's frame 5 is of that grey


def test_the_page_decodes_masks_as_we_do_and_refuses_damaged_ones(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url)
    visit.see(".card")
    random = np.random.default_rng(0)
    masks = [random.random(shape) < share for shape in ((1, 1), (7, 5), (33, 20)) for share in (0, 0.3, 1)]
    smooth = np.add.outer(np.arange(60) ** 2, np.arange(80) ** 2) < 2300
    for mask in [*masks, smooth]:
        coded = RleMask.from_array(mask)
        rle = {"size": [coded.height, coded.width], "counts": coded.counts}
        inside = visit.run("(rle) => Array.from(animeshooter.decodeMask(rle).inside)", rle)
        np.testing.assert_array_equal(np.array(inside, bool).reshape(mask.shape), mask)
    for counts in ("", "placeholder in case the file is too large", "d", "5", "oooooooooooo", "d0d0"):
        assert not RleMask(4, 5, counts).is_valid
        assert visit.run(IS_REFUSED, counts), counts


def test_a_sound_is_played_beside_its_waveform(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000")
    visit.see(".sound h3", "click")
    assert len(visit.texts(".sound")) == 2
    assert not [one for one in visit.requests if one.endswith(".flac")]  # only when it is asked for
    assert visit.run("document.querySelector('.wave-outline path').getAttribute('d').split('M').length") == 241
    visit.page.locator(".sound .round").first.click()
    visit.until("document.querySelector('.sound audio').currentTime > 0.1")
    visit.until("parseFloat(document.querySelector('.wave-slider').style.getPropertyValue('--at')) > 10")
    assert len({one for one in visit.requests if one.endswith(".flac")}) == 1


def test_the_keyboard_reaches_everything(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_000")
    visit.until("animeshooter.page && animeshooter.page.step")
    keys = visit.page.keyboard
    keys.press("ArrowRight")
    visit.see(".now", "Shot 2 of 4")
    keys.press("c")
    visit.until("!document.querySelector('.now .descriptive')")
    keys.press("?")
    visit.see("#help", "Keys and search")
    keys.press("ArrowRight")  # the page behind does not listen
    keys.press("Escape")
    visit.until("!document.getElementById('help').open")
    assert visit.run("animeshooter.page.player.index") == 1
    keys.press("j")
    visit.until("location.hash.startsWith('#/story/v_001')")
    visit.until("animeshooter.page && animeshooter.page.id === 'v_001' && animeshooter.page.step")
    keys.press("k")
    visit.until("animeshooter.page && animeshooter.page.id === 'v_000'")
    keys.press("/")
    assert visit.run("document.activeElement.id") == "find"
    keys.type("mj? ")
    assert visit.run("document.activeElement.value") == "mj? "
    assert visit.run("animeshooter.page.id") == "v_000"
    keys.press("Escape")
    keys.press("Escape")
    visit.see(".cards")
    keys.press("j")
    assert visit.run("document.activeElement.className") == "card"
    assert visit.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.press("Enter")
    visit.see(".story")


def test_texts_stay_texts_however_hostile_they_are(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "#/story/v_007")
    visit.see(".now .narrative")
    assert visit.run("document.querySelector('.now .narrative').textContent") == HOSTILE
    assert visit.run("Array.from(document.querySelector('.storyline').textContent).length") == len(HOSTILE) + 10_000
    assert visit.run("document.querySelector('.storyline').querySelectorAll('*').length") == 0
    visit.page.locator("summary").click()
    visit.until("document.querySelector('.raw pre').textContent.includes('<script>window.hacked')")
    assert visit.run("document.querySelectorAll('a[href^=javascript], main script, img[src=x]').length") == 0
    visit.page.locator("h3 a").first.click()  # searches for the name
    visit.see(".card")
    assert visit.run("window.hacked") is None


def test_a_phone_never_scrolls_sideways(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "", **PHONE)
    for address, what in (
        ("#/", ".card"),
        ("#/story/v_000", ".tile"),
        ("#/story/v_007", ".tile"),
        ("#/?q=mia", ".card"),
    ):
        visit.go(address)
        visit.see(what)
        assert visit.run("document.documentElement.scrollWidth") == 360, address
        assert visit.run(TOO_WIDE) == [], address
    visit.page.locator(".filters-toggle").tap()
    visit.see("[data-filter=sort]")
    assert visit.run("document.documentElement.scrollWidth") == 360


def test_who_wants_no_motion_gets_none(shown: MadeSite, look: Look) -> None:
    visit = look(shown.url, "", reduced_motion="reduce")
    visit.see(".card")
    assert visit.run("getComputedStyle(document.querySelector('.card')).transitionDuration") == "0s"
    assert visit.run("animeshooter.smooth()") == "auto"


@pytest.fixture(scope="module")
def words_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeSite]:
    """A site of annotations: one story starts in the middle of its video and has an address."""
    root = tmp_path_factory.mktemp("words")
    plain = story("v", 3)
    shots = [replace(one, start_frame=one.start_frame + 2400, end_frame=one.end_frame + 2400) for one in plain.shots]
    lost = [replace(one, frame_index=2440, mask=None) for one in plain.references[:1]]  # the release's placeholder
    plain = replace(plain, references=(*plain.references, *lost))
    told = replace(plain, url="https://youtu.be/LvJRvwIDh0E", start_frame=2400, end_frame=2448, shots=tuple(shots))
    write_dataset(root / "dataset", [told, tell("w", url="https://example.org/film")], progress=False)
    yield from served(root / "dataset", root / "site")


def test_without_media_a_story_still_says_everything_and_links_to_the_second(words_only: MadeSite, look: Look) -> None:
    visit = look(words_only.file, "#/story/v_003?shot=3")
    visit.see(".watch", "Watch this shot at its source")
    assert visit.page.locator(".watch").get_attribute("href") == "https://youtu.be/LvJRvwIDh0E?t=101s"
    assert visit.page.locator(".watch").get_attribute("rel") == "noopener noreferrer"
    visit.see(".now .narrative", "Mia does 2.")
    visit.see(".sound h3", "click")
    visit.see(".panel-head", "1 reference without a mask")
    visit.until("document.querySelector('.tile').dataset.drawn === 'mask'")
    assert visit.run("document.querySelector('.round.main')") is None
    visit.page.keyboard.press("ArrowRight")
    visit.see(".now", "Shot 4 of 4")
    visit.go("#/story/w_000")
    visit.until("document.querySelector('.watch').href === 'https://example.org/film#t=0'")
    assert not [one for one in visit.requests if one.startswith("media/")]


def test_a_clip_that_cannot_be_played_says_so_and_the_others_play(shown: MadeSite, look: Look, tmp_path: Path) -> None:
    visit = look(shown.url, "#/story/w_000")
    visit.see(".now", "Shot 1 of 4")
    visit.until(f"{PLAYING} && {PLAYING}.readyState >= 2")
    clip = shown.root / visit.run("animeshooter.page.file.clips[2]")
    whole = clip.read_bytes()
    try:
        clip.write_bytes(whole[: len(whole) // 3])
        visit.go("#/story/w_000?shot=3")
        visit.see(".no-clip", "This clip cannot be played here.")
    finally:
        clip.write_bytes(whole)
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press(" ")
    visit.until(f"{PLAYING}.currentTime > 0.1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_by_day_and_by_night(shown: MadeSite, look: Look, scheme: str) -> None:
    visit = look(shown.url, "#/story/v_000", color_scheme=scheme)
    visit.see(".story")
    for selector in (".storyline", ".eyebrow", ".now .descriptive", ".crumbs a", ".tile-when"):
        assert visit.run(CONTRAST, selector) >= 4.5, selector
    is_dark = visit.run("getComputedStyle(document.body).backgroundColor === 'rgb(21, 23, 27)'")
    assert is_dark == (scheme == "dark")
