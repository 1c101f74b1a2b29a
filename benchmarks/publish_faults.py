"""A storm over the publisher: many versions, many seeds of faults, clients killed at random, several writers at once.

A Hub on loopback hits requests by seed (409, 412, 429, 500, 503, connections cut before, during and after they took
effect, answers lost); each version is published again until it lands, by clients that are killed with SIGKILL after a
random time; a reader looks at main and all tags all the while. Printed are counts that should be 0 (half states that
the reader saw, half states among all commits, versions lost, commits made twice, entries of the writers lost or
doubled), then how much happened, and the bytes of objects received above their size: what was in flight when a line was
cut, an answer lost or a client killed.

    python benchmarks/publish_faults.py --seeds 5 --versions 3 --kills 4 --writers 5
    python benchmarks/publish_faults.py --seeds 2 --xet
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hub"))
from conftest import ClientServer, Uploaders, client_environment
from hub_datasets import is_whole, make_job, repository
from loopback_hub import LoopbackHub, loopback_hub

PATIENT = {"settings": {"max_attempts": 30, "max_wait_seconds": 0.5}}


def publish(uploaders: Uploaders, folder: Path, seed: int, arguments: argparse.Namespace) -> int:
    """Publish all versions, killing clients on the way, and return how many were killed."""
    chance = random.Random(seed)
    kills = 0
    for version in range(arguments.versions):
        job = make_job(folder, "me/data", version, shards=arguments.shards, size=arguments.shard_bytes)
        for _ in range(chance.randint(0, arguments.kills)):
            with uploaders.start({"new": job | PATIENT}, xet=arguments.xet) as started:
                pid = started.pids()["new"]
                time.sleep(chance.uniform(0, arguments.longest_life_seconds))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                kills += not started.reports()
        said = uploaders.run({"new": job | PATIENT}, xet=arguments.xet)["new"]
        if "error" in said:
            print(f"seed {seed}, version {version}: {said['error']}", file=sys.stderr)
    return kills


def write_at_once(hub: LoopbackHub, uploaders: Uploaders, number: int) -> tuple[int, int]:
    """Let several writers add to one list at once; return how many entries were lost and how many were doubled.

    They use plain LFS always: only one process at a time can write to a `local://` store of xet.
    """
    names = [f"w{one}" for one in range(number)]
    jobs = {name: {"repo": "me/list", "append": name, **PATIENT} for name in names}
    uploaders.run(jobs)
    held = repository(hub, "me/list")
    file = held.commits[held.refs["main"]].get("list.json")
    listed = json.loads(hub.blob(file.oid).read_text()) if file else []
    return len(set(names) - set(listed)), len(listed) - len(set(listed))


def storm(seed: int, arguments: argparse.Namespace, folder: Path) -> dict[str, int]:
    """Return the counts of one seed."""
    servers = {}
    for xet in {False, arguments.xet}:
        (folder / f"clients-{xet}").mkdir()
        environment = client_environment("http://127.0.0.1:9", folder / "home", xet=xet)
        servers[xet] = ClientServer(folder / f"clients-{xet}", environment)
    with loopback_hub(folder / "hub") as hub:
        uploaders = Uploaders(hub, lambda xet: servers[xet])
        stop = folder / "stop"
        first = make_job(folder / "data", "me/data", 0, shards=arguments.shards, size=arguments.shard_bytes)
        uploaders.run({"first": first}, xet=arguments.xet)
        faults = hub.random_faults(seed, rate=arguments.rate)
        with uploaders.start({"reader": {"repo": "me/data", "watch": str(stop), **PATIENT}}) as reading:
            kills = publish(uploaders, folder / "data", seed, arguments)
            lost, doubled = write_at_once(hub, uploaders, arguments.writers)
            hub.clear_faults()
            stop.touch()
            seen = reading.reports()["reader"]
        held = repository(hub, "me/data")
        sizes = {oid: hub.blob(oid).stat().st_size for oid in hub.received if hub.blob(oid).exists()}
        repeated = sum(hub.received[oid] - size for oid, size in sizes.items())
        wished = {f"v1.{version}.0" for version in range(arguments.versions)}
        counts = {
            "half states seen": seen["half"],
            "half commits": sum(not is_whole(hub, "me/data", commit) for commit in held.commits),
            "versions lost": len(wished - set(held.tags)),
            "commits made twice": len(held.log(held.refs["main"])) - 1 - arguments.versions,
            "entries lost": lost,
            "entries doubled": doubled,
            "looks": seen["num_looks"],
            "kills": kills,
            "faults": faults.num_hit,
            "bytes of objects": sum(sizes.values()),
            "bytes above": repeated,
        }
    for server in servers.values():
        server.close()
    return counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=0, help="first seed (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (default %(default)s)")
    parser.add_argument("--versions", type=int, default=3, help="versions of the dataset (default %(default)s)")
    parser.add_argument("--kills", type=int, default=4, help="most kills per version (default %(default)s)")
    parser.add_argument("--writers", type=int, default=5, help="writers at once (default %(default)s)")
    parser.add_argument("--shards", type=int, default=3, help="shards of the first version (default %(default)s)")
    parser.add_argument("--shard-bytes", type=int, default=2_000_000, help="size of one (default %(default)s)")
    parser.add_argument("--rate", type=float, default=0.15, help="share of requests hit (default %(default)s)")
    parser.add_argument("--longest-life-seconds", type=float, default=2.0, help="of a client that will be killed")
    parser.add_argument("--xet", action="store_true", help="upload through xet instead of plain Git LFS")
    arguments = parser.parse_args()
    totals: dict[str, int] = {}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            counts = storm(seed, arguments, Path(folder))
        print(f"seed {seed}: " + ", ".join(f"{name} {count}" for name, count in counts.items()), flush=True)
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    print("all: " + ", ".join(f"{name} {count}" for name, count in totals.items()))


if __name__ == "__main__":
    main()
