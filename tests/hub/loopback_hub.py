"""A small Hub on loopback, test equipment: the part of the HTTP API that the real, unmodified clients use.

It stores blobs by hash in a folder and commits in memory. Files go up by Git LFS "basic" transfer, or through xet with
a `local://` store that hf_xet itself reads and writes. Faults can be ordered: status codes for the next commits, and an
upload that is cut in the middle. Every request is logged with the bytes it carried, so that a test can count what was
sent twice.

Source of the endpoints: huggingface_hub 2.4 and datasets 5.2 as installed.
"""

import base64
import fnmatch
import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["LoopbackHub", "loopback_hub"]

LFS_PATTERNS = ("*.parquet", "*.safetensors", "*.bin", "*.mp4", "*.flac", "*.jpg", "*.png")
LFS_BYTES = 10 << 20
_REPO = r"([^/]+/[^/]+)"
_DATE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a commit."""

    oid: str
    """SHA-256 for LFS files, Git's blob SHA-1 for others."""

    size: int
    """Bytes."""

    is_lfs: bool
    """Whether it is stored outside Git."""


@dataclass(slots=True)
class Repository:
    """Branches, tags and commits of one repository."""

    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)

    def find(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit ID."""
        return revision if revision in self.commits else self.refs.get(revision.removeprefix("refs/heads/"))

    def commit(self, files: dict[str, StoredFile], message: str, branch: str) -> str:
        """Append a commit to a branch and return its ID."""
        identity = f"{sorted(files)} {message} {self.refs.get(branch)} {len(self.history)}"
        oid = hashlib.sha1(identity.encode()).hexdigest()
        self.commits[oid], self.refs[branch] = files, oid
        self.history.append((oid, message))
        return oid


@dataclass(slots=True)
class LoopbackHub:
    """The server's state, and the hooks of the tests."""

    store: Path
    url: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    commit_faults: list[int] = field(default_factory=list)
    """Status codes for the next commits, in order."""

    cut_uploads: int = 0
    """How many of the next uploads are cut in the middle."""

    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path with query, bytes received)."""

    bytes_sent: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def uploads(self) -> list[str]:
        """Return the hashes of the objects that were uploaded, in order, repeats included."""
        return [path.rsplit("/", 1)[1] for method, path, _ in self.requests if method == "PUT"]

    def blob(self, oid: str) -> Path:
        """Return where an object is stored."""
        return self.store / oid

    def put(self, data: bytes, oid: str) -> None:
        """Store an object, complete or not at all."""
        partial = self.store / f".{oid}.{threading.get_ident()}"
        partial.write_bytes(data)
        partial.replace(self.blob(oid))

    def xet_hash(self, sha256: str) -> str | None:
        """Return xet's hash of an object, from the shards that hf_xet has written to the local store."""
        for shard in sorted((self.store / "xet" / "xet" / "xorbs" / "shards").glob("*.mdb")):
            found = _find_in_shard(shard.read_bytes(), sha256)
            if found:
                return found
        return None


@contextmanager
def loopback_hub(store: Path) -> Iterator[LoopbackHub]:
    """Run a Hub on a free port of 127.0.0.1 for the time of the block."""
    store.mkdir(parents=True, exist_ok=True)
    hub = LoopbackHub(store)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if self.command == "PUT" and self.hub.cut_uploads:
            self.hub.cut_uploads -= 1
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self._body()
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path, len(body)))
            self._route(unquote(address.path), parse_qs(address.query), body)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(
        self, status: int, body: Any = b"", headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not isinstance(body, bytes):
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.hub.bytes_sent += len(data)
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, **headers: str) -> None:
        self._answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code, **headers})

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if path == "/api/whoami-v2":
            token = {"role": "write", "displayName": "t"}
            self._answer(
                200, {"type": "user", "name": "me", "fullname": "me", "orgs": [], "auth": {"accessToken": token}}
            )
        elif path == "/api/validate-yaml":
            self._answer(200, {"warnings": [], "errors": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/repos/delete":
            asked = json.loads(body)
            self.hub.repositories.pop(
                (asked.get("type", "model"), f"{asked.get('organization') or 'me'}/{asked['name']}"), None
            )
            self._answer(200, {})
        elif match := re.fullmatch(r"/__lfs/([0-9a-f]{64})", path):
            self._upload(match[1], body)
        elif match := re.fullmatch(rf"/(?:(dataset|space)s/)?{_REPO}\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body))
        elif match := re.fullmatch(rf"/api/(model|dataset|space)s/{_REPO}(?:/([a-z0-9-]+)(?:/(.*))?)?", path):
            self._api(match[1], match[2], match[3] or "revision", match[4] or "", query, body)
        elif match := re.fullmatch(rf"/(?:(dataset|space)s/)?{_REPO}/resolve/(.+)", path):
            self._resolve(match[1] or "model", match[2], match[3])
        else:
            self._refuse(404, "EntryNotFound")

    def _create(self, asked: dict[str, Any]) -> None:
        kind, name = asked.get("type", "model"), f"{asked.get('organization') or 'me'}/{asked['name']}"
        address = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.hub.repositories:
            self._answer(409, {"error": "exists", "url": address})
            return
        repository = self.hub.repositories[kind, name] = Repository()
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
        repository.commit({".gitattributes": self._store_regular(attributes)}, "initial commit", "main")
        self._answer(200, {"url": address, "name": name, "id": "x"})

    def _store_regular(self, data: bytes) -> StoredFile:
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.hub.put(data, oid)
        return StoredFile(oid, len(data), False)

    def _upload(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._answer(422, {"error": "the bytes do not have this hash"})
            return
        self.hub.put(body, oid)
        self._answer(200)

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for item in asked["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if not self.hub.blob(item["oid"]).exists():
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/__lfs/{item['oid']}", "header": {}}}
            objects.append(entry)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _api(self, kind: str, name: str, verb: str, rest: str, query: dict[str, list[str]], body: bytes) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            self._refuse(404, "RepoNotFound")
            return
        if verb == "commit":
            self._commit(repository, kind, name, rest, body)
        elif verb in ("branch", "tag"):
            self._ref(repository, verb, rest, json.loads(body or b"{}"))
        elif verb == "refs":
            refs = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": oid} for ref, oid in repository.refs.items()
            ]
            self._answer(200, {"branches": refs, "converts": [], "tags": [], "pullRequests": []})
        elif verb == "commits":
            log = [
                {"id": oid, "title": title, "message": "", "date": _DATE, "authors": []}
                for oid, title in repository.history
            ]
            self._answer(200, log[::-1])
        elif verb in ("xet-write-token", "xet-read-token"):
            self._xet_token()
        else:
            self._read(repository, name, verb, rest, query, body)

    def _xet_token(self) -> None:
        folder = self.hub.store / "xet"
        folder.mkdir(exist_ok=True)
        address, end = f"local://{folder}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(end)}
        self._answer(200, {"casUrl": address, "accessToken": "t", "exp": end}, headers)

    def _read(
        self, repository: Repository, name: str, verb: str, rest: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        revision, _, path = (rest or "main").partition("/")
        commit = repository.find(rest or "main") or repository.find(revision)
        if commit is None and verb != "preupload":
            self._refuse(404, "RevisionNotFound")
            return
        files = repository.commits.get(commit or "", {})
        if verb == "revision":
            self._answer(200, _info(name, commit or "", files, with_blobs="blobs" in query))
        elif verb == "preupload":
            self._answer(200, {"files": [_upload_mode(item, files) for item in json.loads(body)["files"]]})
        elif verb == "tree":
            self._tree(files, path, recursive=query.get("recursive", ["false"])[0].lower() in ("true", "1"))
        elif verb == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
            paths = [asked] if isinstance(asked, str) else asked
            found = [_entry(item, files[item]) for item in paths if item in files]
            folders = [item for item in paths if any(file.startswith(item.rstrip("/") + "/") for file in files)]
            self._answer(200, [*found, *(_folder(item) for item in folders)])
        else:
            self._refuse(404, "EntryNotFound")

    def _commit(self, repository: Repository, kind: str, name: str, branch: str, body: bytes) -> None:
        if self.hub.commit_faults:
            self._answer(self.hub.commit_faults.pop(0), {"error": "ordered by the test"})
            return
        parent = repository.find(branch) or ""
        files, message = dict(repository.commits[parent]), ""
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, parent):
                    self._answer(412, {"error": "the branch has moved"})
                    return
            elif key == "file":
                files[value["path"]] = self._store_regular(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if not self.hub.blob(value["oid"]).exists() and self.hub.xet_hash(value["oid"]) is None:
                    self._answer(400, {"error": f"object {value['oid']} was never uploaded"})
                    return
                files[value["path"]] = StoredFile(value["oid"], value["size"], True)
            elif key == "deletedFile":
                files.pop(value["path"], None)
            elif key == "deletedFolder":
                prefix = value["path"].rstrip("/") + "/"
                files = {path: file for path, file in files.items() if not path.startswith(prefix)}
        oid = repository.commit(files, message, branch.removeprefix("refs/heads/"))
        address = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}/commit/{oid}"
        self._answer(
            200, {"success": True, "commitUrl": address, "commitOid": oid, "pullRequestUrl": None, "hookOutput": ""}
        )

    def _ref(self, repository: Repository, verb: str, rest: str, asked: dict[str, Any]) -> None:
        if self.command == "DELETE":
            repository.refs.pop(rest, None)
            self._answer(200, {})
            return
        ref, base = (rest, asked.get("startingPoint")) if verb == "branch" else (asked["tag"], rest)
        commit = repository.find(base or "main")
        if ref in repository.refs:
            self._answer(409, {"error": "exists"})
        elif commit is None:
            self._refuse(404, "RevisionNotFound")
        else:
            repository.refs[ref] = commit
            self._answer(200, {})

    def _tree(self, files: dict[str, StoredFile], path: str, *, recursive: bool) -> None:
        prefix = f"{path.rstrip('/')}/" if path else ""
        below = {file: stored for file, stored in sorted(files.items()) if file.startswith(prefix)}
        if path and not below:
            self._refuse(404, "EntryNotFound")
            return
        entries, folders = [], set()
        for file, stored in below.items():
            parts = file[len(prefix) :].split("/")
            folders.update(prefix + "/".join(parts[:depth]) for depth in range(1, len(parts)))
            if recursive or len(parts) == 1:
                entries.append(_entry(file, stored))
        shown = [folder for folder in sorted(folders) if recursive or "/" not in folder[len(prefix) :]]
        self._answer(200, [*entries, *(_folder(folder) for folder in shown)])

    def _resolve(self, kind: str, name: str, rest: str) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            self._refuse(404, "RepoNotFound")
            return
        parts = rest.split("/")
        splits = (("/".join(parts[:cut]), "/".join(parts[cut:])) for cut in range(1, len(parts)))
        commit, path = next(((oid, path) for ref, path in splits if (oid := repository.find(ref))), (None, ""))
        if commit is None:
            self._refuse(404, "RevisionNotFound")
            return
        stored = repository.commits[commit].get(path)
        if stored is None:
            self._refuse(404, "EntryNotFound", **{"X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{stored.oid}"', "Accept-Ranges": "bytes"}
        if stored.is_lfs:
            headers |= {"X-Linked-Etag": f'"{stored.oid}"', "X-Linked-Size": str(stored.size)}
            if xet := self.hub.xet_hash(stored.oid):
                token = f"{self.hub.url}/api/{kind}s/{name}/xet-read-token/{commit}"
                headers |= {"X-Xet-Hash": xet, "Link": f'<{token}>; rel="xet-auth"'}
        self._send_file(stored, headers)

    def _send_file(self, stored: StoredFile, headers: dict[str, str]) -> None:
        if self.command == "HEAD":
            self._answer(200, b"", headers, length=stored.size)
            return
        with self.hub.blob(stored.oid).open("rb") as file:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not asked:
                self._answer(200, file.read(), headers)
                return
            begin = int(asked[1])
            end = min(int(asked[2] or stored.size - 1), stored.size - 1)
            if begin >= stored.size:
                self._answer(416, b"", {**headers, "Content-Range": f"bytes */{stored.size}"})
                return
            file.seek(begin)
            part = file.read(end - begin + 1)
            self._answer(206, part, {**headers, "Content-Range": f"bytes {begin}-{end}/{stored.size}"})


def _info(name: str, commit: str, files: dict[str, StoredFile], *, with_blobs: bool) -> dict[str, Any]:
    siblings = [
        {"rfilename": path, **({"size": file.size, "blobId": file.oid} if with_blobs else {})}
        for path, file in sorted(files.items())
    ]
    fixed = {
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": {},
    }
    dates = {"lastModified": _DATE, "createdAt": _DATE}
    return (
        {"id": name, "modelId": name, "_id": "x", "sha": commit, "author": name.split("/")[0], "siblings": siblings}
        | fixed
        | dates
    )


def _upload_mode(item: dict[str, Any], files: dict[str, StoredFile]) -> dict[str, Any]:
    path = item["path"]
    is_lfs = item["size"] >= LFS_BYTES or any(
        fnmatch.fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in LFS_PATTERNS
    )
    known = files[path].oid if path in files else None
    return {"path": path, "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False, "oid": known}


def _entry(path: str, file: StoredFile) -> dict[str, Any]:
    if not file.is_lfs:
        return {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    pointer = hashlib.sha1(file.oid.encode()).hexdigest()
    lfs = {"oid": file.oid, "size": file.size, "pointerSize": 130}
    return {"type": "file", "path": path, "size": file.size, "oid": pointer, "lfs": lfs}


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


def _find_in_shard(data: bytes, sha256: str) -> str | None:
    """Return the xet hash that a shard file pairs with a SHA-256 (48-byte entries after a 48-byte header)."""
    at = 48
    while at + 48 <= len(data) and data[at : at + 32] != b"\xff" * 32:
        own = data[at : at + 32]
        flags, entries = struct.unpack("<II", data[at + 32 : at + 40])
        at += 48 * (1 + entries + (entries if flags >> 31 else 0))
        if flags >> 30 & 1:
            paired = data[at : at + 32]
            at += 48
            if sha256 in (paired.hex(), _words(paired)):
                return _words(own)
    return None


def _words(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))
