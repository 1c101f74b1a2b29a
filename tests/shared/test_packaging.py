"""The wheel must hold every room, and nothing outside ``animeshooter_hf``."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("dataset_builder", "modeling", "eval", "cards")


def declared() -> set[str]:
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["packages"].split())


def test_every_python_folder_is_declared() -> None:
    found = set()
    for top in ("animeshooter_hf", *ROOMS):
        for module in (ROOT / top).rglob("*.py"):
            if (module.parent / "model_index.json").exists():
                continue  # a checkpoint, whose pipeline.py is data
            parts = module.parent.relative_to(ROOT).parts
            if top == "animeshooter_hf" and len(parts) > 1 and parts[1] in ROOMS:
                continue
            found.add(".".join(parts if top == "animeshooter_hf" else ("animeshooter_hf", *parts)))
    assert declared() == found


def test_nothing_leaks_into_site_packages() -> None:
    assert all(name.split(".")[0] == "animeshooter_hf" for name in declared())


@pytest.mark.parametrize("room", ROOMS)
def test_checkout_has_a_door_to_each_room(room: str) -> None:
    door = ROOT / "animeshooter_hf" / room
    if door.is_file():
        pytest.skip("checkout without symbolic links (Windows); the mapping in setup.cfg serves")
    assert door.is_symlink(), f"{door} is a copy: edits in {room}/ would not be seen"
    assert door.resolve() == ROOT / room


def test_the_wheel_holds_every_tracked_file_of_the_rooms_and_one_top_level_name(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("not a git checkout, so the list of files is unknown")
    names = [name for name in tracked.stdout.splitlines() if (ROOT / name).exists()]
    for name in names:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
    made = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(copy)],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} == {"animeshooter_hf"}
    expected = set()
    for name in names:
        top = name.split("/")[0]
        if top in (*ROOMS, "animeshooter_hf") and not (ROOT / name).is_symlink():
            expected.add(name if top == "animeshooter_hf" else f"animeshooter_hf/{name}")
    assert held == expected
