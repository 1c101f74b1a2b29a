"""Characters of different stories are linked by looks and never by name, and never two of one story."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters
from numpy.typing import NDArray

from animeshooter_hf import ReferenceMask, Story
from animeshooter_hf.dataset_builder.references.candidates import candidate_frames
from animeshooter_hf.dataset_builder.references.embedders import ClassicalEmbedder, TransformersEmbedder, open_embedder
from animeshooter_hf.dataset_builder.references.linking import (
    CharacterLook,
    Cutout,
    IdentityLinks,
    describe_characters,
    link_identities,
    link_scores,
)
from animeshooter_hf.dataset_builder.references.rules import clean_mask
from animeshooter_hf.dataset_builder.references.verdicts import ReferenceSettings
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.toon import FilmSettings, ToonFilm, make_stories


def look(story: str, name: str, *degrees: float) -> CharacterLook:
    """A character whose cut-outs point into some directions of the plane."""
    angles = np.radians(np.array(degrees))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return CharacterLook(story_id=story, character_id=name, embeddings=rows)


def groups(links: IdentityLinks) -> set[frozenset[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for key, identity in links.identities.items():
        found.setdefault(identity, set()).add(key)
    return {frozenset(group) for group in found.values()}


def test_alike_characters_are_linked_whatever_they_are_called() -> None:
    looks = [
        look("a", "Mia", 0, 4),
        look("a", "Bo", 90),
        look("b", "girl", 3),
        look("b", "Mia", 88),
        look("c", "cat", 45),
    ]
    links = link_identities(looks, 0.9)
    assert groups(links) == {
        frozenset({("a", "Mia"), ("b", "girl")}),
        frozenset({("a", "Bo"), ("b", "Mia")}),
        frozenset({("c", "cat")}),
    }
    assert links.identities["b", "girl"] == "a/Mia"
    assert links.scores["c", "cat"] is None
    assert links.scores["a", "Bo"] == pytest.approx(np.cos(np.radians(2)), abs=1e-6)


def test_two_characters_of_one_story_are_never_linked_not_even_through_a_third() -> None:
    twins = [look("a", "one", 0), look("a", "two", 0), look("b", "one", 0)]
    assert sorted(map(len, groups(link_identities(twins, 0.5)))) == [1, 2]
    nearest = [look("a", "one", 0), look("a", "two", 6), look("b", "x", 4), look("c", "y", 5)]
    links = link_identities(nearest, 0.5)
    assert links.identities["a", "one"] != links.identities["a", "two"]
    assert links.identities["b", "x"] == links.identities["c", "y"] == links.identities["a", "two"]


def test_the_order_of_characters_changes_nothing() -> None:
    looks = [look("a", "p", 0), look("b", "q", 9), look("c", "r", 20), look("b", "s", 33)]
    expected = link_identities(looks, 0.97)
    for order in permutations(looks):
        assert link_identities(order, 0.97).identities == expected.identities


def test_linking_agrees_with_average_linkage_of_scipy_where_all_stories_differ() -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    for seed in range(20):
        random = np.random.default_rng(seed)
        points = random.normal(size=(4, 6))[random.integers(0, 4, 12)] + random.normal(size=(12, 6)) * 0.4
        looks = [
            CharacterLook(story_id=f"s{n:02d}", character_id="c", embeddings=points[n : n + 1].astype(np.float32))
            for n in range(12)
        ]
        unit = points.astype(np.float32).astype(float)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        away = 1 - unit @ unit.T
        labels = fcluster(linkage(away[np.triu_indices(12, 1)], "average"), 0.3, "distance")
        expected = {frozenset((f"s{n:02d}", "c") for n in np.flatnonzero(labels == one)) for one in set(labels)}
        assert groups(link_identities(looks, 0.7)) == expected


def test_links_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(InputError, match="comes twice"):
        link_identities([look("a", "Mia", 0), look("a", "Mia", 1)], 0.5)
    with pytest.raises(InputError, match="threshold"):
        link_identities([], 1.5)
    with pytest.raises(InputError, match="needs finite embeddings"):
        link_identities([CharacterLook(story_id="a", character_id="b", embeddings=np.zeros((0, 3), np.float32))], 0.5)
    assert link_identities([], 0.5).identities == {}


def test_scores_count_pairs_over_stories_only() -> None:
    truth = {("a", "1"): "x", ("b", "1"): "x", ("c", "1"): "x", ("c", "2"): "y"}
    scores = link_scores({("a", "1"): "p", ("b", "1"): "p", ("c", "1"): "q", ("c", "2"): "p"}, truth)
    assert (scores.num_linked, scores.num_true, scores.num_right) == (3, 3, 1)
    assert scores.precision == scores.recall == pytest.approx(1 / 3)
    assert link_scores({}, {}).precision is None


class Drawn:
    """The pictures of a film that is drawn when they are asked for."""

    def __init__(self, film: ToonFilm) -> None:
        self.film = film

    def picture(self, frame: int) -> NDArray[np.uint8]:
        return self.film.frame(frame)


def true_references(film: ToonFilm, story: Story) -> list[ReferenceMask]:
    references = []
    for character in story.characters:
        for frame in candidate_frames(story, character.id, ReferenceSettings()):
            mask = film.masks(frame).get(character.id)
            if mask is not None and clean_mask(mask).reason is None:
                rle = RleMask.from_array(mask)
                references.append(ReferenceMask(character_id=character.id, frame_index=frame, mask=rle))
    return references


def test_a_toon_character_is_linked_over_the_stories_of_its_film_and_to_nobody_else() -> None:
    film = ToonFilm.from_seed(31, FilmSettings(width=160, height=90, seconds=180))
    embedder = ClassicalEmbedder()
    assert embedder.default_threshold is not None
    looks = [
        look
        for story in make_stories(film.plan)
        for look in describe_characters(
            story.story_id, true_references(film, story), Drawn(film), embedder, max_cutouts=3
        )
    ]
    assert max(len(look.embeddings) for look in looks) == 3
    links = link_identities(looks, embedder.default_threshold)
    scores = link_scores(links.identities, {key: key[1] for key in links.identities})
    assert scores.num_true >= 2
    assert (scores.precision, scores.recall) == (1.0, 1.0)


def test_embeddings_look_at_the_figure_alone_and_one_by_one_gives_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[5:35, 10:40] = True
    elsewhere = np.where(mask[..., None], image, 255 - image).astype(np.uint8)
    embedder = open_embedder("classical")
    rows = embedder.embed([Cutout(image=image, mask=mask), Cutout(image=elsewhere, mask=mask)])
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(embedder.embed([Cutout(image=image, mask=mask)])[0], rows[0])
    assert embedder.embed([]).shape == (0, rows.shape[1])


def cutout_of(seed: int) -> Cutout:
    image: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return Cutout(image=image, mask=np.ones((40, 60), bool))


@pytest.mark.parametrize(("save", "width"), [(tiny_segmenters.save_dinov2, 16), (tiny_segmenters.save_clip, 12)])
def test_a_backbone_of_transformers_embeds_for_real_and_batches_change_nothing(
    tmp_path: Path, save: object, width: int
) -> None:
    folder = save(tmp_path / "backbone")  # type: ignore[operator]
    embedder = TransformersEmbedder(str(folder), device="cpu", batch_size=2)
    cutouts = [cutout_of(seed) for seed in range(3)]
    rows = embedder.embed(cutouts)
    assert rows.shape == (3, width)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(cutouts[2:]), rows[2:], atol=1e-5)
    assert embedder.settings_key()["weights"].startswith("sha256:")
    tiny_segmenters.drop_weight(folder, tmp_path / "broken", "layer")
    with pytest.raises(InputError, match=r"is not whole|missing"):
        TransformersEmbedder(str(tmp_path / "broken"), device="cpu")
