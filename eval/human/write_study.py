"""Make the folder of a study, which raters get, and the key, which they must never see.

    OUT/index.html, study.js, study.css    the page
    OUT/study-data.js                      tasks and orders, by neutral names
    OUT/films/f017.mp4, OUT/references/    what is shown
    KEY                                    which system made which film, and which tasks are checks

The folder works from disk and from any web server, and asks nothing of other machines.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.human.design import FilmKey, StudyPlan, StudySettings, choose_stories, design_study
from animeshooter_hf.eval.human.films import common_width, write_film, write_reference
from animeshooter_hf.eval.human.questions import DIMENSIONS, HIGHEST, LOWEST
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["KEY_FORMAT", "KEY_VERSION", "PageSettings", "StudyReport", "write_study"]

KEY_FORMAT, KEY_VERSION = "animeshooter-study-key", 1
"""What the first keys of a key file say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSettings:
    """What the page says and how films look on it."""

    title: str = "Which film tells its story best?"
    """Heading."""

    contact: str = ""
    """Whom to write to, and where to send the votes; shown as given."""

    height: int = 480
    """Rows of every film. Paper's demos: 480."""

    with_sound: bool = False
    """Whether films keep their sound."""

    def __post_init__(self) -> None:
        if not 64 <= self.height <= 2160 or self.height % 2:
            raise InputError(f"height must be an even number of 64 to 2160 rows, got {self.height}.")
        if not self.title.strip():
            raise InputError("The title must not be empty.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyReport:
    """What became of a study."""

    out: Path
    """Folder for the raters."""

    key: Path
    """Key; keep it to yourself."""

    study_id: str
    """What ties votes to the key."""

    num_stories: int
    """Stories shown."""

    num_films: int
    """Films written."""

    tasks_per_rater: int
    """Tasks of the longest order, checks included."""

    minutes_per_rater: float
    """Time that its films alone take."""

    left_out: Mapping[str, str]
    """Story -> why it is not in the study."""

    notes: Sequence[str]
    """What the study cannot do."""


def write_study(
    predictions: Mapping[str, Sequence[StoryPrediction]],
    out: Path,
    key: Path,
    settings: StudySettings | None = None,
    page: PageSettings | None = None,
    *,
    progress: bool = False,
) -> StudyReport:
    """Write a study of several systems.

    A story is shown only if every system made it and all its shots can be read: comparing systems on different
    stories would compare the stories. What is left out, and why, stands in the report and in the key.

    Args:
        predictions: Stories of each system. References and captions are taken from the first system that has them.
        out: Folder for the raters; it must be new or empty.
        key: File for the key; it must be new and outside the folder.
        settings: Who sees what.
        page: What the page says.
        progress: Show a bar.

    Raises:
        InputError: If out or key cannot be used, or there is no story to show.
    """
    settings, page = settings or StudySettings(), page or PageSettings()
    _check_places(out, key)
    stories = _by_story(predictions)
    left_out = {
        story: f"not made by {', '.join(sorted(set(predictions) - set(made)))}"
        for story, made in stories.items()
        if set(made) != set(predictions)
    }
    offered = {story: made for story, made in stories.items() if story not in left_out}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        chosen, seconds, names, broken = _write_films(partial, offered, settings, page, progress)
        left_out |= broken
        if not chosen:
            reasons = "; ".join(f"{story}: {why}" for story, why in sorted(left_out.items())[:3])
            raise InputError(f"There is no story that every system made and that can be read. {reasons}".strip() + ".")
        plan = design_study({story: _ip(offered[story]) for story in chosen}, list(predictions), settings)
        data = _page_data(partial, plan, {story: offered[story] for story in chosen}, names, page)
        _write_page(partial, data, page)
        about_key = _key(data["study"], plan, names, offered, settings, page, left_out, list(predictions))
        write_text_atomically(key, json.dumps(about_key, indent=1, ensure_ascii=False) + "\n")
        _forget_times(partial)
        partial.chmod(0o755)
        os.replace(partial, out)  # noqa: PTH105  (a folder over an empty one)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    longest = max(plan.orders, key=len)
    watching = max(sum(seconds[film] for name in order for film in plan.tasks[name].films) for order in plan.orders)
    return StudyReport(
        out=out,
        key=key,
        study_id=data["study"],
        num_stories=len(chosen),
        num_films=len(names),
        tasks_per_rater=len(longest),
        minutes_per_rater=watching / 60,
        left_out=left_out,
        notes=plan.notes,
    )


def _forget_times(folder: Path) -> None:
    """Give every file one time, since the order in which films were written would tell their systems."""
    for path in folder.rglob("*"):
        os.utime(path, (946_684_800, 946_684_800))


def _check_places(out: Path, key: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already. Give a new folder, so that no votes lose their films.")
    if key.exists():
        raise InputError(f"The key {key} is there already; votes of its study could not be read without it.")
    if out.resolve() in key.resolve().parents:
        raise InputError(f"The key {key} would lie in the folder that raters get. Put it elsewhere with --key.")


def _by_story(
    predictions: Mapping[str, Sequence[StoryPrediction]],
) -> dict[str, dict[str, StoryPrediction]]:
    stories: dict[str, dict[str, StoryPrediction]] = {}
    for system, made in predictions.items():
        for prediction in made:
            if system in stories.setdefault(prediction.story_id, {}):
                raise InputError(f"System {system} has story {prediction.story_id} twice.")
            stories[prediction.story_id][system] = prediction
    for story, by_system in stories.items():
        ips = {prediction.ip_id for prediction in by_system.values()}
        if len(ips) > 1:
            raise InputError(f"Story {story} belongs to different IPs: {', '.join(sorted(ips))}.")
    return stories


def _ip(made: Mapping[str, StoryPrediction]) -> str:
    return next(iter(made.values())).ip_id


def _write_films(
    folder: Path,
    offered: Mapping[str, Mapping[str, StoryPrediction]],
    settings: StudySettings,
    page: PageSettings,
    progress: bool,
) -> tuple[list[str], dict[FilmKey, float], dict[FilmKey, str], dict[str, str]]:
    """Write films of as many stories as wanted; one that has a broken film gives its place to the next story."""
    (folder / "films").mkdir()
    wanted = min(settings.num_stories, len(offered))
    candidates = choose_stories({story: _ip(made) for story, made in offered.items()}, len(offered), settings.seed)
    systems = sorted({system for made in offered.values() for system in made})
    numbers = iter(np.random.default_rng([settings.seed, 1]).permutation(len(candidates) * len(systems)))
    chosen: list[str] = []
    seconds: dict[FilmKey, float] = {}
    names: dict[FilmKey, str] = {}
    broken: dict[str, str] = {}
    bar = tqdm(total=wanted * len(systems), desc="films", unit="film", disable=not progress)
    for story in candidates:
        if len(chosen) == wanted:
            break
        made = offered[story]
        written: dict[FilmKey, str] = {}
        try:
            width = common_width([made[system].shots for system in systems], page.height)
            for system in systems:
                film = FilmKey(system, story)
                written[film] = f"films/f{next(numbers):04d}.mp4"
                seconds[film] = write_film(
                    folder / written[film], made[system].shots,
                    width=width, height=page.height, with_sound=page.with_sound, sounds=made[system].sound,
                )  # fmt: skip
                bar.update()
        except InputError as error:
            broken[story] = f"{len(written)} of {len(systems)} films tried: {error}"
            for name in written.values():
                (folder / name).unlink(missing_ok=True)
            continue
        chosen.append(story)
        names |= written
    bar.close()
    return chosen, seconds, names, broken


def _page_data(
    folder: Path,
    plan: StudyPlan,
    chosen: Mapping[str, Mapping[str, StoryPrediction]],
    names: Mapping[FilmKey, str],
    page: PageSettings,
) -> dict[str, Any]:
    """Write the references and return what the page is told: nothing of systems, IPs, story names or checks."""
    (folder / "references").mkdir()
    shown = {}
    for number, (story, made) in enumerate(sorted(chosen.items()), start=1):
        of = next((one for one in made.values() if one.references), next(iter(made.values())))
        captions = next((one.captions for one in made.values() if one.captions), ())
        files = [f"references/r{number:03d}-{at}.png" for at in range(1, len(of.references) + 1)]
        for file, picture in zip(files, of.references, strict=True):
            write_reference(folder / file, picture)
        labels = of.reference_characters if len(set(of.reference_characters)) > 1 else ("",) * len(files)
        shown[story] = {
            "references": [{"file": file, "name": name} for file, name in zip(files, labels, strict=True)],
            "captions": list(captions),
        }
    data: dict[str, Any] = {
        "title": page.title,
        "contact": page.contact,
        "scale": [LOWEST, HIGHEST],
        "dimensions": [asdict(dimension) for dimension in DIMENSIONS],
        "tasks": {
            name: {"part": task.part, "films": [names[film] for film in task.films], **shown[task.story_id]}
            for name, task in plan.tasks.items()
        },
        "orders": [list(order) for order in plan.orders],
    }
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    for film in sorted(names.values()):
        digest.update((folder / film).read_bytes())
    return {"study": digest.hexdigest()[:16], **data}


def _write_page(folder: Path, data: Mapping[str, Any], page: PageSettings) -> None:
    assets = Path(__file__).parent / "assets"
    for name in ("study.js", "study.css"):
        shutil.copyfile(assets / name, folder / name)
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    (folder / "study-data.js").write_text(f"window.study = {text};\n", encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.eval.human", "assets"), autoescape=True, undefined=StrictUndefined
    )
    html = environment.get_template("index.html.jinja").render(title=page.title, study=data["study"])
    (folder / "index.html").write_text(html, encoding="utf-8")


def _key(
    study_id: str,
    plan: StudyPlan,
    names: Mapping[FilmKey, str],
    offered: Mapping[str, Mapping[str, StoryPrediction]],
    settings: StudySettings,
    page: PageSettings,
    left_out: Mapping[str, str],
    systems: Sequence[str],
) -> dict[str, Any]:
    stories = sorted({film.story_id for film in names})
    return {
        "format": KEY_FORMAT,
        "version": KEY_VERSION,
        "study": study_id,
        "warning": "Raters must not see this file.",
        "systems": sorted(systems),
        "stories": {story: _ip(offered[story]) for story in stories},
        "films": {name: asdict(film) for film, name in sorted(names.items(), key=lambda item: item[1])},
        "tasks": {
            name: {
                "part": task.part,
                "story_id": task.story_id,
                "films": [asdict(film) for film in task.films],
                "check": task.check,
                "repeats": task.repeats,
            }
            for name, task in plan.tasks.items()
        },
        "orders": [list(order) for order in plan.orders],
        "left_out": dict(sorted(left_out.items())),
        "settings": {**asdict(settings), **asdict(page)},
        "made_with": f"animeshooter-hf {__version__}",
    }
