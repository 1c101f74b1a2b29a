"""Reading results, and what may stand in one ranking."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from results_maker import SIGNATURES, Maker

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.leaderboard.board_site import compare
from animeshooter_hf.eval.leaderboard.columns import backbone_of, column_words, variant_label
from animeshooter_hf.eval.leaderboard.curves import shot_curve
from animeshooter_hf.eval.leaderboard.ranking import Board, Column, make_boards
from animeshooter_hf.eval.leaderboard.read_results import (
    find_results,
    parse_results,
    read_paper_rows,
    read_results,
)
from animeshooter_hf.eval.leaderboard.significance import compare_neighbours
from animeshooter_hf.eval.leaderboard.system_table import column_key, make_table

HEADLINE = ("reference_fidelity", "harmean_p")


def board_of(*makers: Maker) -> Board:
    """The one board of some runs."""
    (board,) = make_boards([parse_results(maker.document(), Path(f"{maker.name}.json")) for maker in makers])
    return board


def column_of(board: Board, key: tuple[str, str] = HEADLINE) -> Column:
    """A column of a board."""
    return next(column for column in board.columns if (column.metric, column.name) == key)


def field(**changes: Any) -> list[Maker]:
    """Three models, one clearly best, the others near each other."""
    drawn = {"a/best": (0.75, 0), "b/next": (0.55, 2), "c/last": (0.55, 1)}
    return [
        Maker(name=name, level=level, seed=seed, ips=8, spread=0.05, **changes) for name, (level, seed) in drawn.items()
    ]


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda top: top.update(format="something"), "no results file"),
    "version 1": (lambda top: top.update(version=1), "version 1"),
    "a later version": (lambda top: top.update(version=3), "version 3"),
    "no system": (lambda top: top.update(system=None), "no object at system"),
    "a nameless system": (lambda top: top["system"].update(name=" "), "names no system"),
    "a kind of its own": (lambda top: top["system"].update(kind="winner"), "'winner'"),
    "a stray fact": (lambda top: top["system"].update(prize=1), "'prize'"),
    "a text for a number": (lambda top: top["corpus"]["reference_fidelity"]["mean"].update(value="9"), "mean.value"),
    "true for a number": (lambda top: top["corpus"]["reference_fidelity"]["mean"].update(value=True), "mean.value"),
    "an infinite story": (lambda top: top["stories"][1]["reference_fidelity"].update(mean=1e999), "stories[1]"),
    "half an interval": (lambda top: top["corpus"]["reference_fidelity"]["mean"].update(low=None), "interval"),
    "an interval turned over": (lambda top: top["corpus"]["reference_fidelity"]["mean"].update(low=2.0), "interval"),
    "no direction": (lambda top: top["corpus"]["reference_fidelity"]["mean"].pop("direction"), "direction"),
    "a negative count": (lambda top: top["gates"][0].update(num_flagged=-1), "num_flagged"),
    "a story twice": (lambda top: top["stories"].append(top["stories"][0]), "twice"),
    "numbers without a signature": (lambda top: top["signatures"].pop("reference_fidelity"), "without a signature"),
    "a shot value without a metric": (lambda top: top["shots"][0]["values"].update(mean=1.0), "METRIC/NAME"),
    "a headline written by hand": (
        lambda top: top["corpus"]["reference_fidelity"]["harmean_p"].update(value=0.99),
        "the mean of its stories",
    ),
    "a text as stories": (lambda top: top.update(stories="none"), "no list at stories"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_document_is_refused_with_its_file_and_the_place(kind: str) -> None:
    change, words = BAD[kind]
    document = Maker().document()
    change(document)
    with pytest.raises(InputError, match=r"^run\.json .*\.$") as caught:
        parse_results(document, Path("run.json"))
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused_in_the_file_itself(tmp_path: Path, text: str) -> None:
    path = Maker().write(tmp_path / "run.json")
    document = json.loads(path.read_text())
    document["corpus"]["reference_fidelity"]["mean"]["value"] = float(text.replace("Infinity", "inf"))
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"{text} is no number"):
        read_results(path)


def test_files_folders_and_folders_of_folders_are_found_once_each(tmp_path: Path) -> None:
    one = Maker().write_folder(tmp_path / "runs" / "one", frames=False)
    two = Maker().write_folder(tmp_path / "runs" / "two", frames=False)
    lone = Maker().write(tmp_path / "lone.json")
    found = find_results([tmp_path / "runs", one, lone])
    assert found == [one / "results.json", two / "results.json", lone]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_place_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        find_results([tmp_path / name])


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        read_results(tmp_path / "x.json")


@pytest.mark.parametrize("story_id", ["../results", "/etc/passwd", "a/../../results"])
def test_no_story_leads_to_a_picture_outside_its_folder(tmp_path: Path, story_id: str) -> None:
    run = read_results(Maker().write_folder(tmp_path / "run") / "results.json")
    assert run.frames_of(run.stories[0].story_id) is not None
    (tmp_path / "run" / "results.jpg").write_bytes(b"x")
    assert run.frames_of(story_id) is None


def test_the_best_model_has_rank_one_and_ranges_follow_from_the_intervals() -> None:
    column = column_of(board_of(*field()))
    assert [cell.entry for cell in column.ranking] == ["a/best", "b/next", "c/last"]
    assert [(cell.rank, cell.best_rank, cell.worst_rank) for cell in column.ranking] == [
        (1, 1, 1),
        (2, 2, 3),
        (3, 2, 3),
    ]


def test_where_lower_is_better_the_lowest_has_rank_one() -> None:
    column = column_of(board_of(*field()), ("reference_fidelity", "within_sd"))
    values = [cell.number.value for cell in column.ranking]
    assert values == sorted(values, key=float)
    assert len(values) == 3


def test_equal_values_share_a_rank() -> None:
    one = Maker(name="a/one", seed=5)
    column = column_of(board_of(one, replace(one, name="b/same"), replace(one, name="c/worse", level=0.3)))
    assert [cell.rank for cell in column.ranking] == [1, 1, 3]


def test_an_order_of_the_files_changes_nothing() -> None:
    makers = field()
    orders = [board_of(*makers), board_of(*reversed(makers))]
    assert column_of(orders[0]).ranking == column_of(orders[1]).ranking


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"gated_by": "static"}, "gated"), ({"kind": "adversarial"}, "adversarial"), ({"kind": "truth"}, "truth")],
)
def test_what_fails_a_control_or_is_no_model_is_shown_but_not_ranked(changes: dict[str, Any], status: str) -> None:
    board = board_of(*field(), Maker(name="x/high", level=0.9, ips=8, **changes))
    entry = next(entry for entry in board.entries if entry.key == "x/high")
    column = column_of(board)
    assert entry.status == status
    assert column.cells["x/high"].number.value is not None
    assert [cell.entry for cell in column.ranking] == ["a/best", "b/next", "c/last"]


def test_an_experimental_control_gates_nobody() -> None:
    maker = Maker(gated_by="static")
    gates = [{**gate, "is_experimental": True} for gate in maker.document()["gates"]]
    assert board_of(replace(maker, changes={"gates": gates})).entries[0].status == "ranked"


def test_who_leaves_out_hard_stories_is_not_ranked() -> None:
    thin = Maker(name="x/picky", level=0.9, ips=8)
    document = thin.document()
    corpus = document["corpus"]
    for entries in corpus.values():
        for entry in entries.values():
            entry["n_evaluated"] = 20  # of 24: the others are not in its results
    changes = {"stories": document["stories"][:20], "corpus": corpus, "headlines": {}}
    board = board_of(*field(), replace(thin, changes=changes))
    cell = column_of(board).cells["x/picky"]
    assert cell.rank is None
    assert cell.coverage == pytest.approx(20 / 24)
    assert len(board.story_ids) == 24


def test_stories_of_one_system_alone_take_nobody_from_the_ranking() -> None:
    padded = Maker(name="x/padded", ips=16)
    board = board_of(*field(), padded)
    assert len(board.story_ids) == 24
    assert len(column_of(board).ranking) == 4


def test_two_signatures_are_two_columns_and_two_rankings() -> None:
    other = {
        **SIGNATURES,
        "reference_fidelity": SIGNATURES["reference_fidelity"].replace("clip-vit-l14", "siglip2-so400m"),
    }
    board = board_of(*field(), Maker(name="x/other", level=0.9, ips=8, signatures=other))
    columns = [column for column in board.columns if (column.metric, column.name) == HEADLINE]
    assert [len(column.ranking) for column in columns] == [3, 1]
    assert [column_key(board, column) for column in columns] == [
        "reference_fidelity.harmean_p",
        "reference_fidelity.harmean_p.2",
    ]
    assert board.primary is columns[0]


@pytest.mark.parametrize("key", ["id", "revision", "track"])
def test_another_benchmark_revision_or_track_is_another_board(key: str) -> None:
    usual = Maker().benchmark or {}
    runs = [Maker(), Maker(name="x/other", benchmark={**usual, key: "another"})]
    boards = make_boards([parse_results(one.document(), Path("x.json")) for one in runs])
    assert [len(board.entries) for board in boards] == [1, 1]
    assert len({board.key for board in boards}) == 2


def test_runs_of_no_benchmark_share_a_board_only_on_the_same_stories() -> None:
    runs = [Maker(benchmark=None), Maker(name="b/same", benchmark=None), Maker(name="c/other", benchmark=None, ips=5)]
    boards = make_boards([parse_results(one.document(), Path("x.json")) for one in runs])
    assert [len(board.entries) for board in boards] == [2, 1]


def test_two_runs_of_a_system_are_one_row_if_their_signatures_differ() -> None:
    other = {"reference_fidelity": "reffid|dreamsim@1|v2"}
    board = board_of(Maker(), Maker(signatures=other))
    assert len(board.entries) == 1
    assert len({column.signature for column in board.columns}) == 3


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice under the same signature"):
        board_of(Maker(), Maker(seed=1))


def test_a_system_that_is_called_two_things_is_refused() -> None:
    with pytest.raises(InputError, match="is called model"):
        board_of(Maker(), Maker(kind="truth", signatures={"reference_fidelity": "other"}))


def test_runs_that_disagree_about_whose_a_story_is_are_refused() -> None:
    document = Maker().document()
    document["stories"][0]["ip_id"] = "somebody"
    with pytest.raises(InputError, match="cannot stand on one board"):
        board_of(Maker(), Maker(name="b/x", changes={"stories": document["stories"]}))


def test_runs_that_disagree_about_a_direction_are_refused() -> None:
    document = Maker().document()
    document["corpus"]["reference_fidelity"]["mean"]["direction"] = "lower"
    with pytest.raises(InputError, match="which way"):
        board_of(Maker(), Maker(name="b/x", changes={"corpus": document["corpus"]}))


def test_neighbours_that_are_clearly_apart_can_be_told_apart_and_near_ones_cannot() -> None:
    board = board_of(*field())
    found = compare_neighbours(board, column_of(board), draws=2000)
    assert [(one.first, one.second, one.can_be_told_apart) for one in found] == [
        ("a/best", "b/next", True),
        ("b/next", "c/last", False),
    ]
    assert all(one.p_value >= one.comparison.p_value for one in found)
    assert found[0].comparison.num_clusters == 8


def test_nothing_is_compared_within_one_ip_or_without_values_of_stories() -> None:
    board = board_of(Maker(ips=1), Maker(name="b/x", ips=1))
    assert compare_neighbours(board, column_of(board)) == []
    documents = [maker.document() for maker in field()]
    for document in documents:
        document["corpus"]["reference_fidelity"]["auc"] = document["corpus"]["reference_fidelity"]["mean"]
    (pooled,) = make_boards([parse_results(document, Path("x.json")) for document in documents])
    assert compare_neighbours(pooled, column_of(pooled, ("reference_fidelity", "auc"))) == []


def test_a_curve_is_the_mean_over_stories_at_each_shot() -> None:
    maker = Maker(drift=-0.05)
    run = parse_results(maker.document(), Path("x.json"))
    points = shot_curve(run.shots, ("reference_fidelity", "reference_fidelity"))
    np.testing.assert_allclose([point.value for point in points], maker.shot_values_SJ().mean(axis=0), atol=1e-12)
    assert all(point.low is not None and point.low < point.value < (point.high or 0) for point in points)
    assert {point.num_stories for point in points} == {12}


def test_a_table_gives_the_means_of_each_ip() -> None:
    board = board_of(Maker())
    table = make_table(board, board.entries[0])
    stories = Maker().document()["stories"]
    at = table.keys.index("reference_fidelity.harmean_p")
    by_hand = {}
    for ip in range(4):
        own = stories[3 * ip : 3 * ip + 3]
        by_hand[f"ip{ip:02d}"] = np.mean([story["reference_fidelity"]["harmean_p"] for story in own])
    assert {ip: values[at] for ip, _, values in table.by_ip()} == pytest.approx(by_hand)


def test_the_papers_rows_are_its_tables_and_are_never_ranked() -> None:
    (board,) = make_boards(read_paper_rows())
    assert board.is_reported
    assert {entry.status for entry in board.entries} == {"reported"}
    assert all(cell.rank is None for column in board.columns for cell in column.cells.values())
    assert compare(board).neighbours == {}
    clip = {cell.entry: cell.number.value for cell in column_of(board, ("paper_clip", "harmean_p")).cells.values()}
    assert clip == {"IP-Adapter + I2V": 0.5901, "CogVideo-LoRA": 0.5028, "AnimeShooterGen": 0.6121}
    for metric in ("paper_clip", "paper_dreamsim"):
        for entry in board.entries:
            shots = [column_of(board, (metric, f"shot_{n}")).cells[entry.key].number.value for n in range(1, 5)]
            assert np.mean(shots) == pytest.approx(
                column_of(board, (metric, "mean")).cells[entry.key].number.value, abs=6e-5
            )


def test_a_number_that_nobody_has_or_that_only_describes_is_not_shown_at_first() -> None:
    documents = [maker.document() for maker in field()]
    for document in documents:
        document["corpus"]["cross_shot_consistency"]["scene_contrast"].update(value=None, low=None, high=None)
        document["corpus"]["reference_fidelity"]["mean"]["direction"] = "none"
    (board,) = make_boards([parse_results(document, Path("x.json")) for document in documents])
    shown = {column.name for column in board.columns if column.is_headline}
    assert shown == {"harmean_p", "retrieval_at_1", "pairwise"}
    assert column_of(board, ("reference_fidelity", "mean")).ranking == []


def test_a_metric_that_nobody_knows_shows_its_first_number() -> None:
    maker = Maker()
    document = maker.document()
    document["signatures"]["new_metric"] = "new|v1"
    number = document["corpus"]["reference_fidelity"]["mean"]
    document["corpus"]["new_metric"] = {"first": number, "second": number}
    (board,) = make_boards([parse_results(document, Path("x.json"))])
    assert [column.name for column in board.columns if column.metric == "new_metric" and column.is_headline] == [
        "first"
    ]


def test_words_are_there_for_what_nobody_knows() -> None:
    assert column_words("new_metric", "odd_number").title == "Odd number"
    assert backbone_of("xshot|backbone:ccip@1|v2") == "ccip"
    assert backbone_of("reffid|clipper|v2") == ""
    assert variant_label("a|b", ["a|b"]) == ""
