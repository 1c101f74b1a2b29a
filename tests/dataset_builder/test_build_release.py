"""A downloaded release enters a build at align: its stories, masks and sounds, set to the exact frames of the films."""

import json
import random
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toon_release import release_video, write_release

from animeshooter_hf.command_line import build_parser
from animeshooter_hf.dataset_builder.annotate.annotator import AudioRequest, ScriptRequest, VerifyRequest
from animeshooter_hf.dataset_builder.annotate.release_annotator import ReleaseAnnotator, place_segments, told_references
from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks
from animeshooter_hf.dataset_builder.build import build_dataset
from animeshooter_hf.dataset_builder.build_command import settings_of
from animeshooter_hf.dataset_builder.build_settings import BuildSettings, SourceFiles
from animeshooter_hf.dataset_builder.engine.runner import RunSettings
from animeshooter_hf.dataset_builder.quality.statistics import paper_statistics
from animeshooter_hf.dataset_builder.references.given import count_given, judge_given
from animeshooter_hf.dataset_builder.references.rules import MaskRules
from animeshooter_hf.dataset_builder.references.verdicts import ReferenceSettings, reapply_rules
from animeshooter_hf.dataset_builder.release.film_annotation import count_told, read_annotation
from animeshooter_hf.dataset_builder.script.align import align_script
from animeshooter_hf.dataset_builder.sources.folder import FilmFile, FilmSource, open_film
from animeshooter_hf.dataset_builder.sources.release import ReleaseSource
from animeshooter_hf.dataset_builder.stages.answering import AnnotatorConfig
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import load_stories
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Character, ReferenceMask, Shot, Story
from animeshooter_hf.statistics import VideoFacts
from animeshooter_hf.takedown import TakedownList
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film
from animeshooter_hf.video import FrameIndex, VideoInfo, index_frames

RATE = 12
SETTINGS = FilmSettings(
    width=160, height=90, seconds=14, frame_rate=Fraction(RATE), mean_shot_seconds=2.5, cut_share=1.0
)
SAMPLE = Path(__file__).parents[3] / "shared" / "release-sample" / "LvJRvwIDh0E.json"
"""The only file of the release that is public by itself; read where it lies."""

VIDEOS = {"LvJRvwIDh0E": 45, "-aB_c123456": 42}
"""Video -> seed of its film; the second ID looks like an option."""

Videos = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Videos]:
    """The folder of the videos, without scripts beside them, and the scripts."""
    drawn, folder = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("videos")
    scripts: Videos = {}
    for name, seed in VIDEOS.items():
        film = drawn / f"film{seed}.mp4"
        render_film(ToonFilm.from_seed(seed, SETTINGS), film)
        film.rename(folder / f"{name}.mp4")
        scripts[name] = json.loads(film.with_suffix(".script.json").read_text())
    return folder, scripts


@pytest.fixture(scope="module")
def release(truth: tuple[Path, Videos], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of both videos, of one that is nowhere, and of a file that is cut off."""
    told = [release_video(script, name) for name, script in truth[1].items()]
    absent = {**told[0], "video ID": "absent00001", "segments": [*told[0]["segments"], *told[0]["segments"]]}
    folder = write_release(tmp_path_factory.mktemp("release") / "pictures", [*told, absent])
    (folder / "cut_off.json").write_text('{"video ID": "cut_off')
    first = next(iter(truth[1]))
    write_release(folder.with_name("sounds"), [release_video(truth[1][first], first, sounds=True)])
    return folder


@pytest.fixture(scope="module")
def built(
    truth: tuple[Path, Videos], release: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The dataset and its report."""
    out = tmp_path_factory.mktemp("built") / "data"
    made = build_dataset([f"release:{release}"], out, settings=settings(truth, release), progress=False)
    assert [film.url for film in made.films] == [
        f"https://www.youtube.com/watch?v={one.video_id}" for one in made.films
    ]
    return out, {**made.to_json(), "receipts": [film.to_json() for film in made.films]}


def settings(truth: tuple[Path, Videos], release: Path) -> BuildSettings:
    sources = SourceFiles(videos=truth[0], release_audio=release.with_name("sounds"))
    return BuildSettings(sources=sources, run=RunSettings(slots=1))


def true_stories(scripts: Videos) -> list[Story]:
    stories = []
    for name, script in scripts.items():
        for number, row in enumerate(script["stories"]):
            story = Story.from_json(row)
            stories.append(replace(story, video_id=name, story_id=f"{name}_{number:03d}"))
    return stories


def test_shots_are_the_true_ones_to_the_frame_wherever_the_cuts_were_found(
    truth: tuple[Path, Videos], built: tuple[Path, dict[str, Any]]
) -> None:
    found = {film["video_id"]: set(film["boundaries"]["found"]) for film in built[1]["receipts"]}
    snapped = moved = 0
    for true in true_stories(truth[1]):
        story = load_stories(built[0]).find(true.story_id).story
        assert [shot.descriptive_caption for shot in story.shots] == [s.descriptive_caption for s in true.shots]
        starts = [(shot.start_frame, one.start_frame) for shot, one in zip(story.shots, true.shots, strict=True)]
        assert all(start == exact for start, exact in starts[1:] if exact in found[true.video_id])
        snapped += sum(exact in found[true.video_id] for _, exact in starts[1:])
        stated = [(true.start_frame or 0) + int(shot.start_seconds or 0) * RATE for shot in true.shots[1:]]
        moved += sum(frame != exact for frame, (_, exact) in zip(stated, starts[1:], strict=True))
        assert (story.shots[0].start_frame, story.shots[-1].end_frame) == (true.start_frame, true.end_frame)
        assert all(one.end_frame == other.start_frame for one, other in zip(story.shots, story.shots[1:], strict=False))
    assert snapped >= 4
    assert moved >= 4  # whole seconds alone would have been wrong


def test_statistics_are_those_of_the_truth(truth: tuple[Path, Videos], built: tuple[Path, dict[str, Any]]) -> None:
    facts = {name: VideoFacts(seconds=SETTINGS.seconds) for name in truth[1]}
    bare = [replace(story, references=()) for story in true_stories(truth[1])]
    expected = paper_statistics(bare, videos=facts).to_json()
    told = built[1]["quality"]["statistics"]
    assert told["counts"]["shots"] > 8
    for kind in ("counts", "distributions"):
        # Masks and sounds are those of the release, not of the films' scripts.
        same = [key for key in expected[kind] if "reference" not in key and "audio" not in key]
        assert {key: told[kind][key] for key in same} == {key: expected[kind][key] for key in same}


def test_references_are_the_masks_of_the_release_without_those_on_the_end_of_a_shot(
    truth: tuple[Path, Videos], built: tuple[Path, dict[str, Any]]
) -> None:
    checked = 0
    for name, script in truth[1].items():
        masks = SidecarMasks(script["masks"])
        for item in load_stories(built[0]):
            for one in item.story.references if item.story.video_id == name else ():
                assert one.mask == masks.mask_at(one.character_id, one.frame_index)
                checked += 1
    counts = built[1]["references"]
    assert checked == sum(count for reason, count in counts.items() if reason.startswith("kept")) > 10
    assert counts["boundary"] >= 1
    assert built[1]["rows"]["references"]["train"] == checked


def test_no_question_is_asked_and_the_provenance_names_the_release(built: tuple[Path, dict[str, Any]]) -> None:
    assert built[1]["calls"]["total"]["calls"] == 0
    manifest = json.loads((built[0] / "manifest.json").read_text())
    assert manifest["provenance"]["models"] == ["release"]
    assert "cc-by-nc-4.0" in (built[0] / "README.md").read_text()


def test_stories_whose_video_is_missing_are_counted_and_broken_files_are_named(
    built: tuple[Path, dict[str, Any]],
) -> None:
    told = built[1]
    assert told["stories_without_film"] == 2
    reasons = {one["reason"]: one.get("stories") for one in told["refused"]}
    assert reasons["The video absent00001 has no file here, and downloading was not asked for."] == 2
    assert any("cut_off.json is left out: a file that is not JSON" in reason for reason in reasons)


def test_sounds_of_the_audio_release_are_stories_of_their_own_at_the_same_cuts(
    truth: tuple[Path, Videos], built: tuple[Path, dict[str, Any]]
) -> None:
    name = next(iter(VIDEOS))
    heard = load_stories(built[0]).find(f"{name}_a000").story
    (pictured, *_) = [one for one in load_stories(built[0]) if one.story.story_id == f"{name}_000"]
    assert [(s.start_frame, s.end_frame) for s in heard.shots] == [
        (s.start_frame, s.end_frame) for s in pictured.story.shots
    ]
    assert all(shot.audio is not None and shot.audio.audio_type for shot in heard.shots)
    assert all(shot.audio is None for shot in pictured.story.shots)
    rows = built[1]["rows"]
    assert rows["audio"]["train"] == len(heard.shots)
    assert rows["shots"]["train"] == sum(len(story.shots) for story in true_stories(truth[1]))
    assert built[1]["quality"]["statistics"]["counts"]["stories"] == rows["stories"]["train"] - 1


def test_a_second_build_finds_everything_done(
    truth: tuple[Path, Videos], release: Path, built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, work = tmp_path / "data", built[0].with_name(".data.work")
    told = settings(truth, release)
    again = build_dataset([f"release:{release}"], out, work=work, settings=told, progress=False)
    assert sum(again.run.done.values()) == 0
    for path in sorted(built[0].rglob("*.parquet")):
        assert path.read_bytes() == (out / path.relative_to(built[0])).read_bytes()


def test_the_command_line_names_videos_and_audio_release_of_a_release() -> None:
    words = ["build", "release:a.zip", "--out", "o", "--videos", "v", "--release-audio", "b.zip"]
    told = settings_of(build_parser("build").parse_args(words))
    assert (told.sources.videos, told.sources.release_audio) == (Path("v"), Path("b.zip"))


def film_and_annotation(truth: tuple[Path, Videos], tmp_path: Path, video: dict[str, Any]) -> tuple[FilmSource, Path]:
    """Return a film of the folder and what a release of just this video tells of it."""
    release = write_release(tmp_path / "one", [video])
    found = ReleaseSource(release, truth[0]).films(tmp_path / "work", takedown=TakedownList())
    (file,) = found.films
    assert file.annotation is not None
    return open_film(FilmFile(video_id=file.video_id, path=file.path)), file.annotation


def first_video(truth: tuple[Path, Videos]) -> dict[str, Any]:
    name, script = next(iter(truth[1].items()))
    return release_video(script, name, sounds=True)


def test_segments_annotated_at_another_rate_are_moved_by_time(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    video = first_video(truth)
    film, annotation = film_and_annotation(truth, tmp_path / "same", video)
    expected = place_segments(annotation, film, index_frames(film.path))
    fast = json.loads(json.dumps(video))
    fast["fps"] = 2 * video["fps"]
    for segment in fast["segments"]:
        segment["start frame index"] *= 2
        segment["end frame index"] *= 2
    film, annotation = film_and_annotation(truth, tmp_path / "fast", fast)
    placed = place_segments(annotation, film, index_frames(film.path))
    assert placed.segments == expected.segments
    assert placed.told_problems["rate_differs"] == len(placed.segments)


def test_segments_that_cannot_be_placed_are_lost_with_a_reason_and_the_others_keep_their_numbers(
    truth: tuple[Path, Videos], tmp_path: Path
) -> None:
    video = first_video(truth)
    good = video["segments"][0]
    late = {**good, "start frame index": 9000, "end frame index": 9900}
    nowhere = {key: value for key, value in good.items() if key != "start frame index"}
    segments = [late, "no segment", nowhere, good]
    film, annotation = film_and_annotation(truth, tmp_path, {**video, "segments": segments})
    placed = place_segments(annotation, film, index_frames(film.path))
    assert placed.numbers == (3,)
    reasons = {problem.story_id[-3:]: problem.code for problem in placed.lost}
    assert reasons == {
        "000": "segment_outside_film",
        "001": "segment_unreadable",
        "002": "segment_frames_missing",
    }
    assert count_told(annotation) == 4


def test_a_script_is_kept_as_it_was_written_wherever_it_stands(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    video = first_video(truth)
    script = video["segments"][0]["story script"]
    bare = {"start frame index": 0, "end frame index": 100, "reference images": [], **script}
    shapes: list[Any] = [
        video,
        {**video, "segments": [bare]},
        {key: value for key, value in video.items() if key != "segments"} | bare,
        {"video ID": video["video ID"], "fps": 24, "segments": {"first": video["segments"][0]}},
    ]
    for number, shape in enumerate(shapes):
        _, annotation = film_and_annotation(truth, tmp_path / str(number), shape)
        assert dict(read_annotation(annotation).segments[0].script) == script


def test_a_video_told_in_two_files_has_the_segments_of_both(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    video = first_video(truth)
    other = json.loads(json.dumps(video))
    other["segments"][0]["story script"]["storyline"] = "Another plot."
    release = write_release(tmp_path / "one", [video])
    (release / "zz.json").write_text(json.dumps(other))
    (file,) = ReleaseSource(release, truth[0]).films(tmp_path / "work", takedown=TakedownList()).films
    assert file.annotation is not None
    told = read_annotation(file.annotation)
    assert [one.number for one in told.segments] == list(range(2 * len(video["segments"])))
    assert told.problems["video_retold"] == 1


def test_a_zip_gives_the_annotations_of_its_folder(truth: tuple[Path, Videos], release: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        for path in sorted(release.iterdir()):
            archive.write(path, path.name)
    told = []
    for number, source in enumerate((release, tmp_path / "release.zip")):
        found = ReleaseSource(source, truth[0]).films(tmp_path / str(number), takedown=TakedownList())
        told.append([read_annotation(one.annotation).segments for one in found.films if one.annotation is not None])
    assert told[0] == told[1]
    assert len(told[0]) == len(VIDEOS)


def test_an_annotation_that_says_the_same_is_left_as_it_is(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    _, annotation = film_and_annotation(truth, tmp_path, first_video(truth))
    before = annotation.stat().st_mtime_ns
    film_and_annotation(truth, tmp_path, first_video(truth))
    assert annotation.stat().st_mtime_ns == before
    assert not list(annotation.parent.glob("*.partial"))


def test_a_damaged_or_missing_annotation_is_refused(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    _, annotation = film_and_annotation(truth, tmp_path, first_video(truth))
    annotation.write_text('{"number": 1}\n')
    with pytest.raises(InputError, match=r"Line 1 of the annotation .* is damaged"):
        read_annotation(annotation)
    with pytest.raises(InputError, match="cannot be read"):
        read_annotation(tmp_path / "absent.jsonl")


def test_a_film_on_the_takedown_list_is_refused_with_its_stories(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    release = write_release(tmp_path / "one", [first_video(truth)])
    listed = tmp_path / "takedown.txt"
    listed.write_text(f"{next(iter(VIDEOS))}\n")
    found = ReleaseSource(release, truth[0]).films(tmp_path / "work", takedown=TakedownList.read(listed))
    assert not found.films
    assert [one.num_stories for one in found.refused] == [1]
    assert not list((tmp_path / "work").rglob("*.jsonl*"))


def test_the_release_cannot_answer_for_a_film_that_it_does_not_tell_of() -> None:
    with pytest.raises(InputError, match=r"No release tells of film\.mp4"):
        AnnotatorConfig(kind="release").kind_for(Path("film.mp4"))


def test_a_release_counts_before_a_script_beside_the_film_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "film.script.json").write_text("{}")
    assert AnnotatorConfig().kind_for(tmp_path / "film.mp4", tmp_path / "told.jsonl") == "release"
    assert AnnotatorConfig(kind="script").kind_for(tmp_path / "film.mp4", tmp_path / "told.jsonl") == "script"
    assert AnnotatorConfig().kind_for(tmp_path / "film.mp4") == "script"


def test_the_release_answers_about_sounds_and_verifies_nothing(truth: tuple[Path, Videos], tmp_path: Path) -> None:
    film, annotation = film_and_annotation(truth, tmp_path, first_video(truth))
    story = replace(next(iter(true_stories(truth[1]))), references=())
    annotator = ReleaseAnnotator(annotation)
    for shot in story.shots:
        if (shot.end_seconds or 0) - (shot.start_seconds or 0) < 2:
            continue
        asked = AudioRequest(film=film, story=story, shot=shot, samples=(), wav=b"")
        told = json.loads(annotator.describe_audio(asked).text or "{}")
        expected = shot.audio.sound_description if shot.audio else f"a step in shot {shot.index}"
        assert told["sound_description"] == expected
    late = Shot(shot_id="late", index=0, start_frame=90_000, end_frame=90_100)
    asked = AudioRequest(film=film, story=story, shot=late, samples=(), wav=b"")
    assert annotator.describe_audio(asked).outcome == "invalid"
    verify = VerifyRequest(
        film=film, story=story, character=story.characters[0], frame=0, frame_jpeg=b"", cutout_jpeg=b""
    )
    assert annotator.verify_reference(verify).outcome == "invalid"


def square(side: int, height: int = 60, width: int = 100) -> RleMask:
    mask = np.zeros((height, width), bool)
    mask[:side, :side] = True
    return RleMask.from_array(mask)


def test_masks_that_were_given_are_kept_and_what_the_rules_say_is_told() -> None:
    shots = [
        Shot(shot_id="v_000_00", index=0, start_frame=0, end_frame=50, characters=("Mia",)),
        Shot(shot_id="v_000_01", index=1, start_frame=50, end_frame=90),
    ]
    story = Story(
        video_id="v",
        story_id="v_000",
        frame_rate=Fraction(24),
        start_frame=0,
        end_frame=90,
        characters=(Character(id="Mia"),),
        shots=tuple(shots),
    )
    cases = {
        10: ("Mia", square(30)),
        11: ("Mia", square(5)),
        50: ("Mia", square(30)),
        60: ("Mia", square(30)),
        12: ("Mia", None),
        13: ("Mia", square(30, 100, 100)),
        14: ("Bo", square(30)),
        99: ("Mia", square(30)),
    }
    given = [ReferenceMask(character_id=name, frame_index=frame, mask=mask) for frame, (name, mask) in cases.items()]
    judged = judge_given(story, given, (60, 100))
    assert [one.frame_index for one in judged.kept] == [10, 11, 60]
    assert judged.kept[1].mask == square(5)  # as it was given
    assert count_given(judged.verdicts) == {
        "boundary": 1,
        "kept": 1,
        "kept, against the rules: too_small": 1,
        "kept, its shot does not list the character": 1,
        "no_mask": 1,
        "not_declared": 1,
        "other_shape": 1,
        "outside_story": 1,
    }
    strict = reapply_rules(judged.verdicts, MaskRules(), ReferenceSettings())
    assert [one.frame_index for one in strict.kept] == [10, 60]


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the sample of the release is not here")
def test_the_real_file_is_set_to_cuts_whole_and_its_placeholders_are_no_references(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / f"{SAMPLE.stem}.mp4"
    path.touch()  # nothing of it is read: the film is known by its index
    found = ReleaseSource(SAMPLE, path.parent).films(tmp_path / "work", takedown=TakedownList())
    annotation = found.films[0].annotation
    assert annotation is not None
    info = VideoInfo(
        width=1280,
        height=720,
        frame_rate=Fraction(30),
        num_frames=14_286,
        duration_seconds=476.2,
        is_variable_rate=False,
        codec="h264",
        has_audio=True,
        audio_sample_rate=44_100,
    )
    film = FilmSource(video_id=SAMPLE.stem, path=path, info=info)
    index = FrameIndex(np.arange(info.num_frames), Fraction(1, 30), np.array([0]))
    placed = place_segments(annotation, film, index)
    assert placed.numbers == tuple(range(8))
    given, _ = told_references(annotation, film, index)
    draw = random.Random(8)
    num_shots = 0
    for number, segment in zip(placed.numbers, placed.segments, strict=True):
        told = given[f"{SAMPLE.stem}_{number:03d}"]
        # Where the cuts of the film are nobody has written down: somewhere in the second that was stated.
        cuts = [
            segment.start_frame + int((shot.start_seconds or 0) * 30) + draw.randrange(1, 29) for shot in told.shots[1:]
        ]
        request = ScriptRequest(
            film=film, segment_index=number, segment=segment, cuts=tuple(cuts), samples=(), index=index
        )
        aligned = align_script(request, ReleaseAnnotator(annotation).write_script(request).text)
        assert aligned.story is not None, aligned.reason
        assert [shot.start_frame for shot in aligned.story.shots[1:]] == cuts
        num_shots += len(aligned.story.shots)
        judged = judge_given(aligned.story, told.references, (720, 1280))
        assert set(judged.counts) == {"no_mask"}
    assert num_shots == 64
