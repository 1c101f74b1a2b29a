import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story
from animeshooter_hf.toon import FilmSettings, ToonFilm, make_stories, plan_film, render_film
from animeshooter_hf.toon.captions import identity_words
from animeshooter_hf.toon.script import MaskRecorder, write_script
from animeshooter_hf.toon.sound import SOUND_KINDS, sound_effect
from animeshooter_hf.video import probe, read_audio, read_frames

SMALL = FilmSettings(width=81, height=45, frame_rate=Fraction(24000, 1001), seconds=9, mean_shot_seconds=2)


@pytest.fixture(scope="module")
def film() -> ToonFilm:
    return ToonFilm.from_seed(4, SMALL)


@pytest.fixture(scope="module")
def film_path(film: ToonFilm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_film(film, tmp_path_factory.mktemp("films") / "toon-0004.mp4")


@pytest.fixture(scope="module")
def script(film_path: Path) -> dict:
    return json.loads(film_path.with_name("toon-0004.script.json").read_text())


def test_the_script_beside_the_film_is_the_script_of_the_film(film: ToonFilm, script: dict) -> None:
    assert json.loads(json.dumps(film.script())) == script


def test_the_mp4_holds_the_frames_and_the_length_of_the_script(film_path: Path, script: dict, film: ToonFilm) -> None:
    info = probe(film_path)
    assert (info.width, info.height) == (script["width"], script["height"]) == (82, 46)
    assert info.frame_rate == Fraction(script["frame_rate"])
    assert info.num_frames == script["num_frames"] == film.num_frames
    decoded = read_frames(film_path, [0, 50, film.num_frames - 1])
    for picture, index in zip(decoded, (0, 50, film.num_frames - 1), strict=True):
        assert np.abs(picture[:45, :81].astype(int) - film.frame(index)).mean() < 12


def test_the_sound_in_the_mp4_is_that_of_the_film(film_path: Path, film: ToonFilm) -> None:
    heard, rate = read_audio(film_path)
    meant = film.audio()
    assert rate == 44100
    length = min(heard.shape[1], meant.shape[1])
    assert np.corrcoef(heard[0, :length], meant[0, :length])[0, 1] > 0.95


def test_masks_in_the_script_decode_to_those_of_the_film(film: ToonFilm, script: dict) -> None:
    decoded: dict[int, dict[str, np.ndarray]] = {index: {} for index in range(film.num_frames)}
    for name, entry in script["masks"].items():
        texts = [rle["counts"] for rle in entry["rle"]]
        assert len(set(texts)) == len(texts)
        for start, end, number in entry["spans"]:
            rle = entry["rle"][number]
            mask = RleMask(*rle["size"], rle["counts"]).to_array()
            assert mask.shape == (script["height"], script["width"])
            for index in range(start, end):
                decoded[index][name] = mask
    for index in range(0, film.num_frames, 3):
        masks = film.masks(index)
        assert set(masks) == set(decoded[index])
        for name, mask in masks.items():
            np.testing.assert_array_equal(decoded[index][name][:45, :81], mask)


def test_boundaries_are_the_starts_of_shots(film: ToonFilm, script: dict) -> None:
    shots = [shot for story in script["stories"] for shot in story["shots"]]
    assert [row["frame"] for row in script["boundaries"]] == [shot["start_frame"] for shot in shots[1:]]
    for row in script["boundaries"]:
        assert row["start_frame"] <= row["frame"] <= row["end_frame"]
        assert (row["kind"] == "cut") == (row["start_frame"] == row["end_frame"])
    assert set(script["shot_truth"]) == {shot["shot_id"] for shot in shots}


def test_stories_are_records_that_survive_their_json_form(script: dict) -> None:
    for row in script["stories"]:
        story = Story.from_json(row)
        assert story.to_json() == row
        assert story.video_id == "toon-0004"
        assert story.frame_rate == Fraction(24000, 1001)


@pytest.mark.parametrize("seed", range(25))
def test_captions_never_tell_who_somebody_is(seed: int) -> None:
    forbidden = identity_words()
    for story in make_stories(plan_film(seed)):
        names = {name.lower() for name in (character.id for character in story.characters)}
        texts = [story.storyline]
        for shot in story.shots:
            texts += [shot.narrative_caption or "", shot.descriptive_caption or ""]
            if shot.audio is not None:
                texts += [shot.audio.audio_type, shot.audio.sound_description, shot.audio.visual_context]
        words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())} - names
        assert not words & forbidden, words & forbidden


def test_captions_are_about_as_long_as_those_of_the_paper() -> None:
    shots = [shot for seed in range(20) for story in make_stories(plan_film(seed)) for shot in story.shots]
    narrative = np.mean([len((shot.narrative_caption or "").split()) for shot in shots])
    descriptive = np.mean([len((shot.descriptive_caption or "").split()) for shot in shots])
    assert 7 < narrative < 15
    assert 22 < descriptive < 42


def test_appearances_and_environments_are_described_and_title_cards_flagged() -> None:
    stories = [story for seed in range(20) for story in make_stories(plan_film(seed))]
    assert all(character.appearance for story in stories for character in story.characters)
    assert all(scene.environment for story in stories for scene in story.scenes)
    cards = [shot for story in stories for shot in story.shots if shot.is_prologue_or_epilogue]
    assert cards
    assert all(shot.scene is None and not shot.characters for shot in cards)
    for story in stories:
        declared = {character.id for character in story.characters}
        assert {name for shot in story.shots for name in shot.characters} == declared
        assert {shot.scene for shot in story.shots} - {None} == {scene.id for scene in story.scenes}


def test_sounds_lie_in_their_shots_and_start_with_a_frame(script: dict) -> None:
    rate = Fraction(script["frame_rate"])
    shots = {shot["shot_id"]: shot for story in script["stories"] for shot in story["shots"]}
    assert script["sounds"]
    for sound in script["sounds"]:
        shot = shots[sound["shot_id"]]
        start, end = float(shot["start_frame"] / rate), float(shot["end_frame"] / rate)
        assert start <= sound["start_seconds"] < sound["end_seconds"] <= end
        assert sound["start_seconds"] == pytest.approx(float(sound["start_frame"] / rate))
        assert sound["kind"] in SOUND_KINDS
        assert shot["audio_annotation"] is not None


def test_nothing_is_heard_outside_sounds_speech_and_music() -> None:
    for seed in range(6):
        film = ToonFilm.from_seed(seed, SMALL)
        script = write_script(film, MaskRecorder(film))  # of no frame: masks are not what is heard
        audio = film.audio()
        spans = [(row["start_seconds"], row["end_seconds"]) for row in script["sounds"]]
        silent = np.ones(audio.shape[1], bool)
        for start, end in (*spans, *script["speech"], *script["music"]):
            silent[round(start * 44100) : round(end * 44100) + 2] = False
        assert not audio[:, silent].any()
        assert np.abs(audio).max() <= 1


def test_struck_sounds_are_loud_within_ten_milliseconds_of_their_start() -> None:
    for kind in ("footstep", "thud", "tap", "bell", "bounce", "splash", "zap", "pop"):
        wave = np.abs(sound_effect(kind, 0, 44100))
        assert wave[:441].max() > 0.3 * wave.max(), kind


def test_a_footstep_sounds_when_the_foot_is_down() -> None:
    from animeshooter_hf.toon import ACTIONS

    walk = ACTIONS["walk"]
    for cue in walk.cues(4.0):
        pose = walk.pose(cue.seconds + 1e-6, "key")
        before = walk.pose(cue.seconds - 0.1, "key")
        assert min(pose.left_foot[1], pose.right_foot[1]) == pytest.approx(0, abs=1e-3)
        assert max(before.left_foot[1], before.right_foot[1]) > 0.03


def test_a_film_that_cannot_be_written_leaves_nothing(film: ToonFilm, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError):
        render_film(film, blocked / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_importing_the_toon_world_loads_nothing_heavy() -> None:
    code = (
        "import sys, animeshooter_hf.toon; sys.exit(any(n in sys.modules for n in ('cv2', 'av', 'torch', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
