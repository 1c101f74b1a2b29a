"""Rights are read from where they are stated, and what is unknown is never permission."""

import json
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.quality.rights import (
    PixelPolicy,
    RightsTable,
    VideoRights,
    may_publish_pixels,
    reason_against_pixels,
    rights_beside,
)
from animeshooter_hf.dataset_builder.sources.source import SourceSettings, collect_films
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import FilmSettings

CSV = """\
video_id,licence,url,channel,retrieved_at,basis,redistributable
a,CC-BY-4.0,https://example.org/a,Mia,2026-01-31,cc,yes
b,,,Studio,,licensed,no
c,,,,,,
"""


def test_a_table_is_read_from_csv_and_from_json(tmp_path: Path) -> None:
    (tmp_path / "rights.csv").write_text(CSV)
    table = RightsTable.read(tmp_path / "rights.csv")
    assert table.of("a") == VideoRights(
        video_id="a", license="CC-BY-4.0", source_url="https://example.org/a", author="Mia",
        retrieved_at="2026-01-31", basis="cc", redistributable=True,
    )  # fmt: skip
    assert table.of("b").redistributable is False
    assert table.of("c") == VideoRights(video_id="c")
    rows = [rights.to_row() for rights in table.rows.values()]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    assert RightsTable.read(tmp_path / "list.json") == table
    by_id = {row.pop("video_id"): row for row in rows}
    (tmp_path / "rights.json").write_text(json.dumps(by_id))
    assert RightsTable.read(tmp_path / "rights.json") == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_id,colour\na,red\n", "row 2: Unknown column 'colour'"),
        ("video_id,basis\na,mine\n", "basis must be one of"),
        ("video_id,redistributable\na,maybe\n", "must be true, false or empty"),
        ("video_id,redistributable\na,yes\n", "on an unknown basis"),
        ("video_id,retrieved_at\na,yesterday\n", "must be a date"),
        ("video_id,license\n,MIT\n", "must not be empty"),
        ("video_id,license\na,MIT\na,GPL\n", "row 3: a stands there already"),
        ("video_id\na,more\n", "Unknown column"),
    ],
)
def test_a_table_that_does_not_hold_is_refused_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rights.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        RightsTable.read(tmp_path / "rights.csv")


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no table of rights"):
        RightsTable.read(tmp_path / "absent.csv")
    for text, message in [
        ("{", "cannot be read"),
        ("[1]", "must be a list of objects"),
        ('{"a": 1}', "must be a list of objects"),
    ]:
        (tmp_path / "rights.json").write_text(text)
        with pytest.raises(InputError, match=message):
            RightsTable.read(tmp_path / "rights.json")
    (tmp_path / "rights.json").write_text('[{"video_id": 3}]')
    with pytest.raises(InputError, match="row 1: video_id must be a text"):
        RightsTable.read(tmp_path / "rights.json")


def test_what_is_unknown_is_never_permission() -> None:
    assert not may_publish_pixels(RightsTable().of("a"))
    assert not may_publish_pixels(VideoRights(video_id="a", basis="cc", license="CC-BY-4.0"))
    assert not may_publish_pixels(VideoRights(video_id="a", basis="owned", redistributable=False))
    with pytest.raises(ValueError, match="unknown basis"):
        VideoRights(video_id="a", redistributable=True)
    with pytest.raises(InputError, match="basis for publishing pixels"):
        PixelPolicy(bases=("unknown",))


def test_pixels_are_published_only_on_an_accepted_basis() -> None:
    owned = VideoRights(video_id="a", basis="owned", redistributable=True)
    research = VideoRights(video_id="a", basis="research-exception", redistributable=True)
    assert may_publish_pixels(owned)
    assert "no permission to publish" in (reason_against_pixels(research) or "")
    assert not may_publish_pixels(owned, PixelPolicy(is_allowed=False))
    assert not may_publish_pixels(owned, PixelPolicy(bases=("cc",)))
    assert "is not known to be redistributable" in (reason_against_pixels(RightsTable().of("a")) or "")


@pytest.mark.parametrize(
    ("license_text", "basis", "redistributable"),
    [
        ("Creative Commons Attribution license (reuse allowed)", "cc", True),
        ("CC BY-SA 4.0", "cc", True),
        ("CC-BY-NC-4.0", "cc", None),
        ("Creative Commons Attribution-NoDerivatives", "cc", None),
        ("CC0-1.0", "public-domain", True),
        ("Standard YouTube License", "unknown", False),
        ("All rights reserved", "unknown", None),
        (None, "unknown", None),
    ],
)
def test_the_licence_beside_a_downloaded_film_is_understood(
    tmp_path: Path, license_text: str | None, basis: str, redistributable: bool | None
) -> None:
    info = {
        "license": license_text,
        "channel": "Mia",
        "webpage_url": "https://youtu.be/x",
        "retrieved_at": "2026-01-31T12:00:00Z",
        "fps": 24,
    }
    (tmp_path / "v.info.json").write_text(json.dumps(info))
    rights = rights_beside(tmp_path / "v.mp4", "v")
    assert (rights.basis, rights.redistributable, rights.license) == (basis, redistributable, license_text)
    assert (rights.author, rights.source_url) == ("Mia", "https://youtu.be/x")


def test_a_broken_file_beside_a_film_says_nothing(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"license": 3, "retrieved_at": "soon"}'):
        (tmp_path / "v.info.json").write_text(text)
        assert rights_beside(tmp_path / "v.mp4", "v") == VideoRights(video_id="v")


def test_toon_films_are_ours_and_the_users_table_counts_more(tmp_path: Path) -> None:
    small = SourceSettings(toon=FilmSettings(width=64, height=48, seconds=1))
    (film,) = collect_films(["toon:1"], tmp_path, small, progress=False).films
    table = RightsTable().with_films([(film.video_id, film.path)])
    assert table.of(film.video_id).license == "Apache-2.0"
    assert may_publish_pixels(table.of(film.video_id))
    script = film.path.with_name(f"{film.video_id}.script.json")
    script.write_text(script.read_text().replace('"seed": 0', '"seed": 1'))  # somebody else's, dressed up
    assert rights_beside(film.path, film.video_id) == VideoRights(video_id=film.video_id)
    stated = RightsTable({film.video_id: VideoRights(video_id=film.video_id, basis="owned", redistributable=False)})
    assert not may_publish_pixels(stated.with_films([(film.video_id, film.path)]).of(film.video_id))
    assert not may_publish_pixels(table.merge(stated).of(film.video_id))
