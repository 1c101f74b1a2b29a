"""Characters are linked over the stories of a dataset by looks, where that is asked for."""

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tiny_segmenters

from animeshooter_hf.command_line import build_parser, main
from animeshooter_hf.config_file import settings_from
from animeshooter_hf.dataset_builder.annotate.sidecar import script_path
from animeshooter_hf.dataset_builder.build_command import settings_of
from animeshooter_hf.dataset_builder.build_settings import BuildSettings, QualitySettings, make_stages
from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, Unit
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.dataset_builder.quality.all_films import FilmQuality, check_all_films
from animeshooter_hf.dataset_builder.quality.duplicates import HashSequence
from animeshooter_hf.dataset_builder.quality.rights import RightsTable
from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig, open_configured
from animeshooter_hf.dataset_builder.references.linking import CharacterLook
from animeshooter_hf.dataset_builder.stages.looks import LooksStage, read_looks
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film

RATE = 12
SETTINGS = FilmSettings(width=160, height=90, seconds=10, frame_rate=Fraction(RATE), mean_shot_seconds=1.5)
SEEDS = (51, 52)


def split_stories(path: Path) -> None:
    """Make two stories of a film's only one, so that its characters occur in two."""
    script = json.loads(script_path(path).read_text())
    told: list[Story] = []
    for row in script["stories"]:
        story = Story.from_json(row)
        half = len(story.shots) // 2
        for shots in (story.shots[:half], story.shots[half:]):
            start, end = shots[0].start_frame or 0, shots[-1].end_frame or 0
            name = f"{story.video_id}_{len(told):03d}"
            moved = [
                replace(
                    shot,
                    shot_id=f"{name}_{index:02d}",
                    index=index,
                    start_seconds=float(((shot.start_frame or 0) - start) / Fraction(RATE)),
                    end_seconds=float(((shot.end_frame or 0) - start) / Fraction(RATE)),
                    clip_start_seconds=None,
                    clip_end_seconds=None,
                    audio=None,
                )
                for index, shot in enumerate(shots)
            ]
            told.append(replace(story, story_id=name, start_frame=start, end_frame=end, shots=tuple(moved)))
    script["stories"] = [story.to_json() for story in told]
    script_path(path).write_text(json.dumps(script))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed in SEEDS:
        path = folder / f"toon-{seed:04d}.mp4"
        render_film(ToonFilm.from_seed(seed, SETTINGS), path)
        split_stories(path)
    return folder


@pytest.fixture(scope="module")
def built(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "data"
    words = ["build", str(films), "--out", str(out), "--media", "none", "--workers", "1", "--identities", "classical"]
    assert main(words) == 0
    return out


def test_a_character_is_linked_over_the_stories_of_its_film_and_to_no_other_film(films: Path, built: Path) -> None:
    report = json.loads((built / "build_report.json").read_text())
    identities = report["identities"]
    stories: dict[tuple[str, str], set[str]] = {}
    for key, identity in identities.items():
        story_id, name = key.split("/")
        stories.setdefault((story_id.rsplit("_", 1)[0], name), set()).add(identity)
    assert {video for video, _ in stories} == {path.stem for path in films.glob("*.mp4")}
    assert all(len(found) == 1 for found in stories.values())  # one identity, in however many stories
    assert len(identities) >= len(stories) + 2  # some characters do occur in two
    assert len(set(identities.values())) == len(stories)  # and no two characters are one
    for key, identity in identities.items():
        assert key.split("_")[0] == identity.split("_")[0]
        assert key.split("/")[1] == identity.split("/")[1]


def test_the_links_stand_beside_the_dataset_with_scores_and_threshold(built: Path) -> None:
    beside = json.loads((built / "identities.json").read_text())
    report = json.loads((built / "build_report.json").read_text())
    assert beside["identities"] == report["identities"]
    assert beside["threshold"] == EmbedderConfig().link_threshold
    assert set(beside["scores"]) == set(beside["identities"])
    assert "identities" not in report["quality"]


def test_the_stage_exists_only_where_identities_are_asked_for() -> None:
    names = [stage.name for stage in make_stages(BuildSettings())]
    asked = BuildSettings(quality=QualitySettings(identities=EmbedderConfig()))
    assert "looks" not in names
    with_looks = [stage.name for stage in make_stages(asked)]
    assert with_looks.index("looks") == with_looks.index("references") + 1
    assert [name for name in with_looks if name != "looks"] == names


def test_vectors_do_not_depend_on_the_threshold_or_the_device() -> None:
    one = EmbedderConfig()
    assert replace(one, threshold=0.5, device="cuda").key() == one.key()
    assert replace(one, max_cutouts=2).key() != one.key()


@dataclass(frozen=True, kw_only=True)
class Rules(QualitySettings):
    """The build's own settings, so that the protocol is kept."""

    duplicates: Literal["drop", "report", "off"] = "off"
    identities: EmbedderConfig | None = field(default_factory=EmbedderConfig)


def film(name: str, *degrees: float) -> FilmQuality:
    """A film with a story and a character that points into a direction of the plane."""
    angle = np.radians(np.array(degrees))
    look = CharacterLook(
        story_id=f"{name}_000", character_id="Mia", embeddings=np.stack([np.cos(angle), np.sin(angle)], 1)
    )
    story = Story(video_id=name, story_id=f"{name}_000", storyline=name)
    nothing = np.zeros(0)
    hashes = HashSequence(
        id=name,
        owner=name,
        hashes=nothing.astype(np.uint64),
        frames=nothing.astype(np.int64),
        times=nothing,
        is_telling=nothing.astype(bool),
        seconds=60.0,
        pixels=1,
    )
    return FilmQuality(
        video_id=name, stories=(story,), hashes=hashes, seconds=60.0, rights=RightsTable().of(name), looks=(look,)
    )


def test_films_that_share_a_character_stay_in_one_split_unless_that_is_switched_off() -> None:
    films = [film("a", 0.0), film("b", 90.0), film("c_1", 2.0)]
    together = check_all_films(films, Rules())
    assert together.groups == {"a": "a", "b": "b", "c_1": "a"}
    apart = check_all_films(films, Rules(identities_join_splits=False))
    assert apart.groups == {"a": "a", "b": "b", "c_1": "c_1"}
    assert apart.identities is not None
    assert apart.identities.identities["c_1_000", "Mia"] == "a_000/Mia"
    assert check_all_films(films, Rules(identities=None)).identities is None


def test_looks_that_are_missing_or_of_other_characters_are_refused(tmp_path: Path) -> None:
    output = {"characters": [["a_000", "Mia", 3]]}
    assert read_looks({"characters": []}, None) == ()
    with pytest.raises(InputError, match="cannot be read"):
        read_looks(output, tmp_path / "absent.npy")
    np.save(tmp_path / "two.npy", np.zeros((2, 4), np.float32))
    with pytest.raises(InputError, match="of 2 characters, not of 1"):
        read_looks(output, tmp_path / "two.npy")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "org/backbone"}, "set a threshold"),
        ({"name": " "}, "needs a name"),
        ({"threshold": 2.0}, "must lie in -1 to 1"),
        ({"max_cutouts": 0}, "at least 1"),
        ({"wrong": 1}, "wrong"),
    ],
)
def test_an_embedder_that_cannot_link_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_from(given, EmbedderConfig)


def test_the_command_line_names_who_links_and_from_which_likeness_on() -> None:
    def told(*words: str) -> EmbedderConfig | None:
        return settings_of(
            build_parser("build").parse_args(["build", "films", "--out", "o", *words])
        ).quality.identities

    assert told() is None
    assert told("--identities", "classical") == EmbedderConfig()
    assert told("--identities", "org/backbone=0.8") == EmbedderConfig(name="org/backbone", threshold=0.8)
    with pytest.raises(InputError, match="should end in a number"):
        told("--identities", "classical=much")


def test_a_backbone_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        open_configured(EmbedderConfig(name=str(tmp_path / "absent"), threshold=0.8))


def test_a_backbone_of_the_users_own_makes_the_looks_of_a_film(films: Path, built: Path, tmp_path: Path) -> None:
    store = WorkStore(built.with_name(".data.work"))
    item = Item(id="toon-0051", path=films / "toon-0051.mp4")
    settings = BuildSettings(media="none", quality=QualitySettings(identities=EmbedderConfig()))
    keys = Plan.of(make_stages(settings), [item]).keys[item.id]
    receipts = {name: Ledger(store).receipt(Unit(name, item.id, keys[name])) for name in LooksStage.needs}
    inputs = {name: receipt["output"] for name, receipt in receipts.items() if receipt is not None}
    tiny = EmbedderConfig(name=str(tiny_segmenters.save_dinov2(tmp_path / "tiny")), threshold=0.9, device="cpu")
    result = LooksStage(embedder=tiny).run(StageContext(item=item, inputs=inputs, store=store, blob_prefix="looks/x"))
    blob = result.blobs[".npy"]
    assert isinstance(blob, bytes)
    (tmp_path / "looks.npy").write_bytes(blob)
    looks = read_looks(result.output, tmp_path / "looks.npy")
    assert result.output["embedder"]["name"] == "transformers"
    assert {look.embeddings.shape for look in looks} == {(1, 16)}
    told = json.loads((built / "identities.json").read_text())["identities"]
    assert {f"{look.story_id}/{look.character_id}" for look in looks} == {key for key in told if "toon-0051" in key}
