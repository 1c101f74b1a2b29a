"""Jobs of the uploader for tests, each in a process of its own that can be killed.

This process reads orders, a JSON line each: {"jobs": {name: job}, "out": a FIFO, "errors": a file, "environment": {}}.
It forks after its imports, so that they are paid once. Into the FIFO go the lines {"pids": {name: pid}}, {name: report}
or {name: {"error": a sentence}} for each job that lives to its end, and {"failed": whether one broke}. A job has

    endpoint, repo, type, token, settings, private, gated   of the uploader
    files: {path: local path}, texts: {path: text}, deleted: [path], message, tag   of a commit
    append: text     instead: add it to the list in list.json of the head, and a file that is called so
    watch: path      instead: look at main and the tags until that file is there, and count what was seen
    fetch: path      instead: download a file, with files limited to limit_bytes
    erase: true      instead: erase the history
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import animeshooter_hf.hub.history
import animeshooter_hf.hub.objects  # noqa: F401 - so that the forked processes need not import it
from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.upload import Change, HubUploader, RemoteHead, UploadSettings

Job = dict[str, Any]


def run_job(job: Job) -> Any:
    """Return the report of a job."""
    settings = UploadSettings(**{"first_wait_seconds": 0.01, "max_wait_seconds": 0.2, **job.get("settings", {})})
    uploader = HubUploader(
        job["repo"],
        repo_type=job.get("type", "dataset"),
        token=job.get("token"),
        settings=settings,
        endpoint=job["endpoint"],
    )
    if "limit_bytes" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit_bytes"], job["limit_bytes"]))
    if "watch" in job:
        return watch(uploader, Path(job["watch"]))
    if "fetch" in job:
        return {"size": uploader.fetch(job["fetch"], "main", Path(tempfile.mkdtemp())).stat().st_size}
    if job.get("erase"):
        return asdict(uploader.erase_history("erased", job.get("tag")))
    if job.get("ensure", True):
        uploader.ensure_repo(job.get("private"), job.get("gated"))
    message, tag = job.get("message", "publish"), job.get("tag")
    if "append" in job:
        return asdict(uploader.commit(lambda head: append(uploader, head, job["append"]), message=message, tag=tag))
    files: dict[str, Path | bytes] = {path: Path(local) for path, local in job.get("files", {}).items()}
    files |= {path: text.encode() for path, text in job.get("texts", {}).items()}
    change = Change(files, frozenset(job.get("deleted", ())))
    return asdict(uploader.commit(lambda _: change, message=message, tag=tag, progress=bool(job.get("progress"))))


def append(uploader: HubUploader, head: RemoteHead, entry: str) -> Change:
    """Return the change that adds an entry to the list, even one that is there: who does it twice is found out."""
    listed = json.loads(uploader.read_text("list.json", head.commit or "main")) if "list.json" in head.files else []
    return Change({"list.json": json.dumps([*listed, entry]).encode(), f"entries/{entry}.bin": entry.encode() * 1000})


def watch(uploader: HubUploader, stop: Path) -> dict[str, Any]:
    """Look at main and every tag, over and over; a state is whole if it has the files of its manifest and no other."""
    seen, half = set(), 0
    num_looks = 0
    while not stop.exists():
        for revision in ("main", *uploader.tags()):
            head = uploader.head(revision)
            if head.commit is None or "manifest.json" not in head.files:
                continue
            manifest = json.loads(uploader.read_text("manifest.json", head.commit))
            shown = {path: file.sha256 for path, file in head.files.items() if path.endswith(".parquet")}
            half += shown != manifest
            seen.add(head.commit)
            num_looks += 1
        time.sleep(0.02)
    return {"half": half, "num_looks": num_looks, "num_states": len(seen)}


def run_jobs(jobs: dict[str, Job]) -> None:
    """Fork once for each job and say what comes of it."""
    pids = {}
    for name, job in jobs.items():
        pids[name] = os.fork()
        if pids[name] == 0:
            try:
                report = run_job(job)
            except InputError as error:
                report = {"error": str(error), "kind": type(error).__name__}
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            say({name: report})
            os._exit(0)
    say({"pids": pids})
    statuses = [os.waitpid(pid, 0)[1] for pid in pids.values()]
    say({"failed": any(os.WIFEXITED(status) and os.WEXITSTATUS(status) for status in statuses)})


def say(what: dict[str, Any]) -> None:
    """Write a line in one piece."""
    os.write(1, (json.dumps(what) + "\n").encode())


def main() -> None:
    """Carry out orders until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(order["out"], os.O_WRONLY), 1)
            os.dup2(os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.environ.update(order["environment"])
            run_jobs(order["jobs"])
            os._exit(0)


if __name__ == "__main__":
    main()
