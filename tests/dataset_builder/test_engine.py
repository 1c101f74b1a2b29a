"""The engine: what is done is not done again, what misbehaves harms nobody, and nothing outlives its driver."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_stages import Hash, Read

from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, Unit
from animeshooter_hf.dataset_builder.engine.runner import LocalRunner, RunSettings
from animeshooter_hf.dataset_builder.engine.stage import Item, StageResult, unit_keys
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.errors import InputError, MissingExtraError

HERE = Path(__file__).parent


def films(folder: Path, texts: dict[str, str]) -> list[Item]:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [Item(id=name, path=folder / name) for name in texts]


def runner(tmp_path: Path, *, salt: str = "", root: str | Path | None = None, **settings: float) -> LocalRunner:
    stages = (Read(tmp_path / "log"), Hash(tmp_path / "log", salt=salt))
    return LocalRunner(stages, WorkStore(root or tmp_path / "work"), RunSettings(**settings))  # type: ignore[arg-type]


def ran(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_a_second_run_does_nothing_and_gives_the_same(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "1", "b": "2"})
    first = runner(tmp_path, slots=2).run(items, progress=False)
    assert dict(first.done) == {"read": 2, "hash": 2}
    before = sorted(ran(tmp_path))
    second = runner(tmp_path).run(items, progress=False)
    assert (second.reused, sum(second.done.values())) == (4, 0)
    assert sorted(ran(tmp_path)) == before == ["a hash", "a read", "b hash", "b read"]


def test_a_changed_setting_repeats_only_what_depends_on_it(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "1"})
    runner(tmp_path).run(items, progress=False)
    report = runner(tmp_path, salt="other").run(items, progress=False)
    assert dict(report.done) == {"hash": 1}
    (tmp_path / "films" / "a").write_text("longer")
    assert dict(runner(tmp_path, salt="other").run(items, progress=False).done) == {"read": 1, "hash": 1}


def test_stages_must_stand_in_an_order_that_works(tmp_path: Path) -> None:
    item = Item(id="a", path=tmp_path / "a")
    with pytest.raises(ValueError, match="needs read, which does not come before"):
        unit_keys((Hash(tmp_path / "log"), Read(tmp_path / "log")), item)


def test_films_that_raise_crash_hang_exit_or_grow_are_quarantined_and_the_others_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHILD_PIDS", str(tmp_path / "pids"))
    bad = {"b": "raise", "c": "segfault", "d": "hang", "e": "exit", "f": "grow"}
    items = films(tmp_path / "films", {"a": "1", **bad, "g": "refuse", "h": "wait", "z": "2"})
    used = runner(tmp_path, memory_mib=256)

    def clock() -> float:
        """An hour and more passes whenever the film that hangs has begun to, and at no other time."""
        hung = tmp_path / "pids"
        return 4000.0 * len(hung.read_text().split()) if hung.exists() else 0.0

    report = LocalRunner(used.stages, used.ledger.store, used.settings, clock=clock).run(items, progress=False)
    assert report.quarantined == {
        "b": "read: RuntimeError: the film is cursed",
        "c": "read: the worker was killed by SIGSEGV",
        "d": "read: it took longer than 3600 s",
        "e": "read: the worker ended with status 3",
        "f": "read: it held more than 256 MiB",
    }
    assert report.dropped == {"g": "The film is refused."}
    assert report.waiting == {"h": "the budget is spent"}
    assert dict(report.done) == {"read": 3, "hash": 2}
    log = ran(tmp_path)
    assert [log.count(f"{name} read") for name in "abcdefghz"] == [1, 2, 2, 2, 2, 2, 1, 1, 1]
    for pid in (tmp_path / "pids").read_text().split():
        assert not is_alive(int(pid))


def test_quarantine_lasts_until_it_is_lifted(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "raise", "b": "segfault"})
    runner(tmp_path).run(items, progress=False)
    again = runner(tmp_path)
    assert set(again.run(items, progress=False).quarantined) == {"a", "b"}
    assert len(ran(tmp_path)) == 4
    plan = again.ledger.read_plan()
    assert [unit.item for unit in again.ledger.retry(plan, matching="SIGSEGV")] == ["b"]
    again.run(items, progress=False)
    assert ran(tmp_path)[4:] == ["b read", "b read"]


def test_the_ledger_tells_how_every_unit_stands(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "1", "b": "raise", "c": "refuse"})
    used = runner(tmp_path)
    used.run(items, progress=False)
    plan = used.ledger.read_plan()
    assert used.ledger.count(plan) == {
        "read": {"done": 1, "quarantined": 1, "dropped": 1},
        "hash": {"done": 1, "not needed": 2},
    }
    with pytest.raises(InputError, match="is no work folder"):
        Ledger(WorkStore(tmp_path / "other")).read_plan()


def test_a_missing_extra_stops_the_run_with_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'animeshooter-hf\[x\]'"):
        runner(tmp_path).run(films(tmp_path / "films", {"a": "extra"}), progress=False)


def test_a_damaged_receipt_counts_as_none(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "1"})
    runner(tmp_path).run(items, progress=False)
    (receipt,) = (tmp_path / "work" / "hash").glob("*.json")
    whole = receipt.read_text()
    receipt.write_text(whole[:30])
    assert dict(runner(tmp_path).run(items, progress=False).done) == {"hash": 1}
    assert json.loads(receipt.read_text())["output"] == json.loads(whole)["output"]


def test_two_builds_in_one_work_folder_are_refused(tmp_path: Path) -> None:
    items = films(tmp_path / "films", {"a": "1"})
    code = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'a')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "work").mkdir()
    lock = tmp_path / "work" / "runner-00000.lock"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="Another build is at work"):
            runner(tmp_path).run(items, progress=False)
        holder.kill()
    runner(tmp_path).run(items, progress=False)


@pytest.mark.parametrize("settings", [{"slots": 0}, {"slots": 999}, {"timeout_seconds": 0}, {"max_attempts": 0}])
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(InputError):
        RunSettings(**settings)


def test_a_store_may_lie_anywhere_that_fsspec_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    items = films(tmp_path / "films", {"a": "1", "b": "raise"})
    url = f"file://{tmp_path}/far"
    report = runner(tmp_path, root=url).run(items, progress=False)
    assert dict(report.done) == {"read": 1, "hash": 1}
    local = runner(tmp_path, root=tmp_path / "far").run(items, progress=False)
    assert (local.reused, list(local.quarantined)) == (2, ["b"])
    with pytest.raises(InputError, match="cannot be opened"):
        WorkStore("nowhere://x")


def test_a_unit_without_its_receipt_has_left_no_blob_that_counts(tmp_path: Path) -> None:
    ledger = Ledger(WorkStore(tmp_path))
    unit = Unit("read", "a", "k")
    source = tmp_path / "made"
    source.write_bytes(b"1")
    ledger.record(unit, StageResult(output={}, blobs={".x": source, ".y": b"2"}), seconds=0)
    assert sorted(path.name for path in (tmp_path / "read").iterdir()) == ["a.k.json", "a.k.x", "a.k.y"]
    assert ledger.states(Plan({"a": {"read": "k"}})).__next__().state == "done"


def begun(tmp_path: Path) -> int:
    """Return how many units have begun so far."""
    return len(ran(tmp_path)) if (tmp_path / "log").exists() else 0


def start_driver(tmp_path: Path, most: int) -> subprocess.Popen[bytes]:
    """Start a build that goes on only until so many units have begun."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from engine_stages import Hash, Read\n"
        "from animeshooter_hf.dataset_builder.engine.runner import LocalRunner, RunSettings\n"
        "from animeshooter_hf.dataset_builder.engine.stage import Item\n"
        "from animeshooter_hf.dataset_builder.engine.store import WorkStore\n"
        "root = Path(sys.argv[1])\n"
        "stages = (Read(root / 'log'), Hash(root / 'log', seconds=0.03, most=int(sys.argv[2])))\n"
        "items = [Item(id=p.name, path=p) for p in sorted((root / 'films').iterdir())]\n"
        "LocalRunner(stages, WorkStore(root / 'work'), RunSettings(slots=2)).run(items, progress=False)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(most)], env=environment)


def test_a_driver_killed_again_and_again_redoes_at_most_one_unit_per_slot_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    items = films(tmp_path / "films", {f"film-{number:02d}": str(number) for number in range(48)})
    draw = random.Random(0)
    kills = 12
    for _ in range(kills):
        # The kill comes at some moment after one to three more units have begun; the driver cannot be done by then.
        wanted = begun(tmp_path) + draw.randint(1, 3)
        with start_driver(tmp_path, most=wanted + 2) as driver:
            while driver.poll() is None and begun(tmp_path) < wanted:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.03))
            driver.send_signal(signal.SIGKILL)
        assert driver.returncode == -signal.SIGKILL
    assert start_driver(tmp_path, most=10**6).wait() == 0
    log = ran(tmp_path)
    assert set(log) == {f"{item.id} {stage}" for item in items for stage in ("read", "hash")}
    assert len(log) <= 96 + 2 * kills
    deadline = time.monotonic() + 60
    while (left := processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert not list((tmp_path / "work").glob("failures/*/*"))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return False


def processes_in(folder: Path) -> list[int]:
    """Return the processes that have something below a folder open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(str(folder)) for link in links) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def test_datatrove_ranks_do_the_same_and_leave_no_process_when_killed(tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    items = films(tmp_path / "films", {**{f"film-{number}": str(number) for number in range(8)}, "bad": "segfault"})
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from engine_stages import Hash, Read\n"
        "from animeshooter_hf.dataset_builder.engine.runner import RunSettings\n"
        "from animeshooter_hf.dataset_builder.engine.scale import BuildRank, launch\n"
        "from animeshooter_hf.dataset_builder.engine.stage import Item\n"
        "root = Path(sys.argv[1])\n"
        "stages = (Read(root / 'log'), Hash(root / 'log', seconds=0.2))\n"
        "items = tuple(Item(id=p.name, path=p) for p in sorted((root / 'films').iterdir()))\n"
        "build = BuildRank(stages=stages, root=str(root / 'work'), settings=RunSettings(), items=items)\n"
        "launch(build, launcher='processes', ranks=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "work").glob("hash/*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.kill()
    deadline = time.monotonic() + 60
    while (left := processes_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    used = runner(tmp_path)
    assert used.ledger.count(used.ledger.read_plan()) == {
        "read": {"done": 8, "quarantined": 1},
        "hash": {"done": 8, "not needed": 1},
    }
    assert len([line for line in ran(tmp_path) if not line.startswith("bad")]) <= 16 + 2
    alone = runner(tmp_path, root=tmp_path / "alone").run(items, progress=False)
    assert sum(alone.done.values()) == 16


SBATCH = """#!/usr/bin/env bash
# Stands in for Slurm: runs the tasks of an array one after the other, in the job's environment.
script="${@: -1}"
array=$(grep -oE -- '--array=[0-9]+-[0-9]+' "$script" | head -1)
array=${array#--array=}
for task in $(seq ${array%%-*} ${array##*-}); do
  env RUN_OFFSET=0 SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=7 SLURM_RESTART_COUNT=0 SLURM_CPUS_PER_TASK=1 \\
    SLURM_NODEID=0 SLURM_NODELIST=localhost SLURM_JOB_NODELIST=localhost SLURM_MEM_PER_CPU=2048 bash "$script"
done > "$0.log" 2>&1 < /dev/null
echo 7
"""


def test_slurm_is_given_a_job_array_that_does_every_film_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datatrove")
    from animeshooter_hf.dataset_builder.engine.scale import BuildRank, launch

    programs = {"sbatch": SBATCH, "scontrol": "#!/bin/sh\necho localhost\n"}
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    search = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(search))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    items = films(tmp_path / "films", {f"film-{number}": str(number) for number in range(4)})
    used = runner(tmp_path)
    build = BuildRank(stages=used.stages, root=str(tmp_path / "work"), settings=RunSettings(), items=tuple(items))
    options = {"time": "01:00:00", "partition": "cpu", "with_srun": False}
    launch(build, launcher="slurm", ranks=2, options=options)
    assert sorted(ran(tmp_path)) == sorted(f"{item.id} {stage}" for item in items for stage in ("read", "hash"))
    assert used.ledger.count(used.ledger.read_plan()) == {"read": {"done": 4}, "hash": {"done": 4}}
    with pytest.raises(InputError, match="does not take these options"):
        launch(build, launcher="slurm", ranks=2, options={"colour": "red"})
    with pytest.raises(InputError, match="There is no launcher"):
        launch(build, launcher="cloud", ranks=2)
    with pytest.raises(InputError, match="ranks must be positive"):
        launch(build, launcher="slurm", ranks=0)
