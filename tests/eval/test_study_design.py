"""Who sees what: balanced over systems, sides and stories, with checks that look like every other task."""

import itertools
from collections import Counter

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.human.design import (
    StudyPlan,
    StudySettings,
    StudyTask,
    choose_stories,
    design_study,
    williams_rows,
)

IPS = {f"s{number:02d}": f"ip{number // 3}" for number in range(15)}
SYSTEMS = ("a", "b", "c")


def counted(plan: StudyPlan) -> list[list[StudyTask]]:
    """Each rater's tasks without the checks."""
    return [[plan.tasks[name] for name in order if not plan.tasks[name].check] for order in plan.orders]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_in_a_williams_square_each_stands_in_each_place_and_follows_each_other_equally_often(count: int) -> None:
    rows = williams_rows(count)
    assert len(rows) == (count if count % 2 == 0 else 2 * count)
    places = Counter((place, thing) for row in rows for place, thing in enumerate(row))
    follows = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert len(set(places.values())) == 1
    assert len(places) == count * count
    if count > 1:
        assert len(follows) == count * (count - 1)
        assert len(set(follows.values())) == 1


def test_stories_are_chosen_evenly_over_ips() -> None:
    chosen = choose_stories(IPS, 7, seed=3)
    assert sorted(Counter(IPS[story] for story in chosen).values()) == [1, 1, 1, 2, 2]
    assert len(set(chosen)) == 7
    assert choose_stories(IPS, 7, seed=3) == chosen != choose_stories(IPS, 7, seed=4)
    assert sorted(choose_stories(IPS, 99, seed=0)) == sorted(IPS)


def test_each_rater_rates_every_film_once_and_systems_stand_equally_often_in_each_round() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(raters=6))
    for rater, tasks in enumerate(counted(plan)):
        assert Counter(task.films[0] for task in tasks) == Counter({f: 1 for f in {t.films[0] for t in tasks}}), rater
        assert len(tasks) == 45
    rounds = Counter((place // 15, task.films[0].system) for tasks in counted(plan) for place, task in enumerate(tasks))
    assert set(rounds.values()) == {30}


def test_two_films_of_one_story_are_never_rated_side_by_side() -> None:
    for tasks in counted(design_study(IPS, SYSTEMS, StudySettings(raters=20, seed=5))):
        assert all(one.story_id != other.story_id for one, other in itertools.pairwise(tasks))


def test_a_share_of_stories_goes_round_so_that_all_are_rated_equally_often() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(raters=15, stories_per_rater=4))
    films = Counter(task.films[0] for tasks in counted(plan) for task in tasks)
    assert set(films.values()) == {4}
    assert len(films) == 45


def test_pairs_are_judged_equally_often_and_each_system_stands_left_half_the_time() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(raters=9, parts=("pair",), pairs_per_rater=20))
    cells = Counter(
        (task.story_id, *sorted(film.system for film in task.films)) for tasks in counted(plan) for task in tasks
    )
    assert set(cells.values()) == {4}
    sides = Counter(tuple(film.system for film in task.films) for tasks in counted(plan) for task in tasks)
    assert len(sides) == 6
    assert max(sides.values()) - min(sides.values()) <= 1
    for tasks in counted(plan):
        left, right = (Counter(task.films[side].system for task in tasks) for side in (0, 1))
        assert all(abs(left[system] - right[system]) <= 2 for system in SYSTEMS)


def test_every_rater_gets_checks_of_each_sort_that_look_like_tasks() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(raters=10, parts=("rating", "pair"), checks=2))
    for order in plan.orders:
        assert len(set(order)) == len(order)
        checks = Counter((plan.tasks[name].part, plan.tasks[name].check) for name in order if plan.tasks[name].check)
        assert checks == {
            ("rating", "wrong_ip"): 2, ("rating", "repeated"): 2, ("pair", "wrong_ip"): 2, ("pair", "identical"): 2
        }  # fmt: skip


def test_a_check_shows_another_ip_or_the_same_film_again() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(parts=("rating", "pair")))
    for order in plan.orders:
        for place, name in enumerate(order):
            task = plan.tasks[name]
            shown = [IPS[film.story_id] == IPS[task.story_id] for film in task.films]
            if task.check == "wrong_ip":
                assert shown.count(False) == 1
                assert len({film.system for film in task.films}) == 1
            elif task.check == "identical":
                assert task.films[0] == task.films[1]
            elif task.check == "repeated":
                before = order.index(task.repeats)
                assert place - before >= 15
                assert plan.tasks[task.repeats].films == task.films
            else:
                assert {film.story_id for film in task.films} == {task.story_id}


def test_names_of_tasks_say_nothing_and_a_seed_gives_the_same_plan() -> None:
    plan = design_study(IPS, SYSTEMS, StudySettings(seed=1))
    assert plan == design_study(dict(IPS), SYSTEMS[::-1], StudySettings(seed=1))
    assert plan.orders != design_study(IPS, SYSTEMS, StudySettings(seed=2)).orders
    assert sorted(plan.tasks) == [f"t{number + 1:04d}" for number in range(len(plan.tasks))]
    first = [plan.tasks[name].films[0].system for name in sorted(plan.tasks)]
    assert first != sorted(first)
    checks = [number for number, name in enumerate(sorted(plan.tasks)) if plan.tasks[name].check]
    assert min(checks) < len(plan.tasks) / 4 < 3 * len(plan.tasks) / 4 < max(checks)


def test_stories_of_one_ip_have_no_check_with_another_character_and_that_is_said() -> None:
    plan = design_study(dict.fromkeys(("s", "t", "u"), "ip"), SYSTEMS, StudySettings())
    assert "one IP" in plan.notes[0]
    assert {task.check for task in plan.tasks.values()} == {"", "repeated"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"raters": 0}, "raters"),
        ({"num_stories": 0}, "num_stories"),
        ({"checks": -1}, "checks"),
        ({"stories_per_rater": 0}, "stories_per_rater"),
        ({"parts": ()}, "tasks"),
        ({"parts": ("rating", "rating")}, "tasks"),
        ({"parts": ("ranking",)}, "tasks"),
    ],
)
def test_settings_that_make_no_study_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        StudySettings(**settings)


def test_a_study_of_nothing_or_pairs_of_one_system_are_refused() -> None:
    with pytest.raises(InputError, match="at least one system"):
        design_study({}, SYSTEMS, StudySettings())
    with pytest.raises(InputError, match="two systems"):
        design_study(IPS, ("a",), StudySettings(parts=("pair",)))
