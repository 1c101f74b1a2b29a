"""The answers of the Hub on loopback: one function per endpoint, from a request to a response."""

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import loopback_json as shapes
from loopback_state import Repository, StoredFile

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub

__all__ = ["Request", "Response", "answer"]

PAGE_FILES = 1000
_REPO = r"([^/]+/[^/]+)"
_WRITES = ("commit", "branch", "tag", "settings", "super-squash", "lfs-files", "xet-write-token", "preupload")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    token: str
    range: str

    @property
    def role(self) -> str:
        """What the token may do: stranger, reader or writer."""
        if not self.token:
            return "stranger"
        return "reader" if self.token.startswith(("hf_read", "hf_guest")) else "writer"

    def json(self) -> dict[str, Any]:
        """Return the body as an object."""
        return dict(json.loads(self.body or b"{}"))


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """Of the body that a HEAD does not carry."""


def refuse(status: int, code: str, **headers: str) -> Response:
    """Return a refusal with the Hub's error code."""
    return Response(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code, **headers})


def answer(hub: "LoopbackHub", request: Request) -> Response:
    """Return what the Hub answers; its state is locked only where it changes."""
    path = request.path
    if request.token.startswith("hf_bad"):
        return Response(401, {"error": "bad token"}, {"X-Error-Message": "Invalid credentials in Authorization header"})
    if match := re.fullmatch(r"/__lfs/([0-9a-f]{64})", path):
        return _upload(hub, match[1], request.body)
    if match := re.fullmatch(rf"/(?:(dataset|space)s/)?{_REPO}/resolve/(.+)", path):
        return _resolve(hub, request, match[1] or "model", match[2], match[3])
    with hub.lock:
        if path == "/api/whoami-v2":
            return _whoami(request)
        if path == "/api/validate-yaml":
            return Response(200, {"warnings": [], "errors": []})
        if path in ("/api/repos/create", "/api/repos/delete"):
            return _create_or_delete(hub, request, is_create=path.endswith("create"))
        if match := re.fullmatch(rf"/(?:(dataset|space)s/)?{_REPO}\.git/info/lfs/objects/batch", path):
            return _batch(hub, request, match[2])
        if match := re.fullmatch(rf"/api/(model|dataset|space)s/{_REPO}(?:/([a-z0-9-]+)(?:/(.*))?)?", path):
            return _api(hub, request, match[1], match[2], match[3] or "revision", match[4] or "")
    return refuse(404, "EntryNotFound")


def _whoami(request: Request) -> Response:
    if request.role == "stranger":
        return Response(401, {"error": "no token"})
    token = {"role": "write" if request.role == "writer" else "read", "displayName": "t"}
    return Response(200, {"type": "user", "name": "me", "fullname": "me", "orgs": [], "auth": {"accessToken": token}})


def _create_or_delete(hub: "LoopbackHub", request: Request, *, is_create: bool) -> Response:
    asked = request.json()
    kind, name = asked.get("type", "model"), f"{asked.get('organization') or 'me'}/{asked['name']}"
    address = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
    if request.role != "writer":
        return refuse(401 if request.role == "stranger" else 403, "Forbidden")
    if not is_create:
        hub.repositories.pop((kind, name), None)
        return Response(200, {})
    if (kind, name) in hub.repositories:
        return Response(409, {"error": "exists", "url": address})
    repository = Repository(is_private=asked.get("visibility") == "private" or bool(asked.get("private")))
    attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in shapes.LFS_PATTERNS)
    repository.commit({".gitattributes": hub.put_regular(attributes.encode())}, "initial commit", "main")
    hub.repositories[kind, name] = repository
    return Response(200, {"url": address, "name": name, "id": "x"})


def _upload(hub: "LoopbackHub", oid: str, body: bytes) -> Response:
    if hashlib.sha256(body).hexdigest() != oid:
        return Response(422, {"error": "the bytes do not have this hash"})
    with hub.lock:
        if not _takes(hub, len(body)):
            return Response(507, {"error": "no room"})
        hub.completed.append(oid)
    hub.put(body, oid)
    return Response(200)


def _takes(hub: "LoopbackHub", num_bytes: int) -> bool:
    """Return whether there is room for so many bytes more, and take it."""
    if hub.room_bytes is None:
        return True
    if num_bytes > hub.room_bytes:
        return False
    hub.room_bytes -= num_bytes
    return True


def _batch(hub: "LoopbackHub", request: Request, name: str) -> Response:
    if request.role != "writer":
        return refuse(403, "Forbidden")
    objects = []
    for item in request.json()["objects"]:
        entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
        if not hub.has(item["oid"], name):
            entry["actions"] = {"upload": {"href": f"{hub.url}/__lfs/{item['oid']}", "header": {}}}
        objects.append(entry)
    return Response(200, {"transfer": "basic", "objects": objects})


def _visible(hub: "LoopbackHub", request: Request, kind: str, name: str) -> Repository | Response:
    """Return a repository, or why this token does not see it."""
    repository = hub.repositories.get((kind, name))
    if repository is None or (repository.is_private and request.role != "writer"):
        return refuse(401 if request.role == "stranger" else 404, "RepoNotFound")
    return repository


def _api(hub: "LoopbackHub", request: Request, kind: str, name: str, verb: str, rest: str) -> Response:
    repository = _visible(hub, request, kind, name)
    if isinstance(repository, Response):
        return repository
    if verb in _WRITES and request.role != "writer":
        return refuse(401 if request.role == "stranger" else 403, "Forbidden")
    if verb == "commit":
        return _commit(hub, repository, (kind, name), rest, request.body)
    if verb in ("branch", "tag"):
        return _ref(repository, request, verb, rest)
    if verb == "refs":
        return Response(200, shapes.refs(repository))
    if verb in ("xet-write-token", "xet-read-token"):
        return _xet_token(hub, name)
    if verb == "settings":
        return _settings(repository, request.json())
    if verb == "super-squash":
        return _squash(repository, rest, request.json())
    if verb == "lfs-files":
        return _lfs_files(hub, repository, request)
    return _read(hub, request, repository, name, verb, rest)


def _xet_token(hub: "LoopbackHub", name: str) -> Response:
    address, end = hub.xet.address(name), int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(end)}
    return Response(200, {"casUrl": address, "accessToken": "t", "exp": end}, headers)


def _settings(repository: Repository, asked: dict[str, Any]) -> Response:
    if "visibility" in asked or "private" in asked:
        repository.is_private = asked.get("visibility") == "private" or bool(asked.get("private"))
    repository.gated = asked.get("gated", repository.gated)
    return Response(200, {})


def _squash(repository: Repository, branch: str, asked: dict[str, Any]) -> Response:
    if branch not in repository.refs:
        return refuse(404, "RevisionNotFound")
    repository.commit(repository.commits[repository.refs[branch]], asked["message"], branch, is_root=True)
    repository.drop_unreachable()
    return Response(200, {})


def _lfs_files(hub: "LoopbackHub", repository: Repository, request: Request) -> Response:
    if request.method == "GET":
        return Response(200, [shapes.lfs_file(oid, *where) for oid, where in sorted(repository.objects.items())])
    gone = set(request.json()["deletions"]["sha"])
    repository.delete_objects(gone)
    for oid in gone:
        hub.blob(oid).unlink(missing_ok=True)
    return Response(200, {})


def _read(hub: "LoopbackHub", request: Request, repository: Repository, name: str, verb: str, rest: str) -> Response:
    revision, _, path = (rest or "main").partition("/")
    commit = repository.find(rest or "main") or repository.find(revision)
    if commit is None and verb != "preupload":
        return refuse(404, "RevisionNotFound")
    files = repository.commits.get(commit or "", {})
    if verb == "revision":
        return Response(200, shapes.info(name, commit or "", repository, with_blobs="blobs" in request.query))
    if verb == "commits":
        return Response(200, [shapes.commit(oid, repository.titles[oid]) for oid in repository.log(commit or "")])
    if verb == "preupload":
        ignored = _ignored(hub, files)
        return Response(200, {"files": [shapes.upload_mode(item, files, ignored) for item in request.json()["files"]]})
    if verb == "tree":
        return _tree(hub, request, files, path)
    if verb == "paths-info":
        form = request.body.startswith(b"{")
        asked = request.json()["paths"] if form else parse_qs(request.body.decode()).get("paths", [])
        return Response(200, shapes.paths_info([asked] if isinstance(asked, str) else asked, files))
    return refuse(404, "EntryNotFound")


def _ignored(hub: "LoopbackHub", files: dict[str, StoredFile]) -> list[str]:
    """Return the patterns of the repository's .gitignore."""
    stored = files.get(".gitignore")
    return hub.blob(stored.oid).read_text().split() if stored else []


def _tree(hub: "LoopbackHub", request: Request, files: dict[str, StoredFile], path: str) -> Response:
    recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    entries = shapes.tree(files, path, recursive=recursive)
    if path and not entries:
        return refuse(404, "EntryNotFound")
    begin = int(request.query.get("cursor", ["0"])[0])
    headers = {}
    if begin + PAGE_FILES < len(entries):
        address = f"{hub.url}{request.path}?recursive={recursive}&cursor={begin + PAGE_FILES}"
        headers = {"Link": f'<{address}>; rel="next"'}
    return Response(200, entries[begin : begin + PAGE_FILES], headers)


def _commit(hub: "LoopbackHub", repository: Repository, where: tuple[str, str], branch: str, body: bytes) -> Response:
    if hub.commit_faults:
        return Response(hub.commit_faults.pop(0), {"error": "ordered by the test"})
    parent = repository.find(branch) or ""
    files, message = dict(repository.commits[parent]), ""
    for line in body.splitlines():
        item = json.loads(line)
        key, value = item["key"], item["value"]
        if key == "header":
            message = value["summary"]
            if value.get("parentCommit") not in (None, parent):
                return Response(412, {"error": "the branch has moved"})
        elif key == "file":
            data = base64.b64decode(value["content"])
            if not _takes(hub, len(data)):
                return Response(507, {"error": "no room"})
            files[value["path"]] = hub.put_regular(data)
        elif key == "lfsFile":
            if not hub.has(value["oid"], where[1]):
                return Response(400, {"error": f"object {value['oid']} was never uploaded"})
            files[value["path"]] = StoredFile(value["oid"], value["size"], True)
        elif key == "deletedFile" and files.pop(value["path"], None) is None:
            return refuse(404, "EntryNotFound")
        elif key == "deletedFolder":
            prefix = value["path"].rstrip("/") + "/"
            files = {path: file for path, file in files.items() if not path.startswith(prefix)}
    oid = repository.commit(files, message, branch.removeprefix("refs/heads/"))
    address = f"{hub.url}/{'' if where[0] == 'model' else where[0] + 's/'}{where[1]}"
    made = {"commitUrl": f"{address}/commit/{oid}", "commitOid": oid}
    return Response(200, {"success": True, "pullRequestUrl": None, "hookOutput": "", **made})


def _ref(repository: Repository, request: Request, verb: str, rest: str) -> Response:
    refs = repository.refs if verb == "branch" else repository.tags
    if request.method == "DELETE":
        if refs.pop(rest, None) is None:
            return refuse(404, "RevisionNotFound")
        repository.drop_unreachable()
        return Response(200, {})
    asked = request.json()
    ref, base = (rest, asked.get("startingPoint")) if verb == "branch" else (asked["tag"], rest)
    commit = repository.find(base or "main")
    if ref in refs:
        return Response(409, {"error": "exists"})
    if commit is None:
        return refuse(404, "RevisionNotFound")
    refs[ref] = commit
    return Response(200, {})


def _resolve(hub: "LoopbackHub", request: Request, kind: str, name: str, rest: str) -> Response:
    with hub.lock:
        repository = _visible(hub, request, kind, name)
        if isinstance(repository, Response):
            return repository
        if repository.gated and request.role != "writer":
            return refuse(401 if request.role == "stranger" else 403, "GatedRepo")
        parts = rest.split("/")
        splits = (("/".join(parts[:cut]), "/".join(parts[cut:])) for cut in range(1, len(parts)))
        commit, path = next(((oid, path) for ref, path in splits if (oid := repository.find(ref))), (None, ""))
        if commit is None:
            return refuse(404, "RevisionNotFound")
        stored = repository.commits[commit].get(path)
    if stored is None:
        return refuse(404, "EntryNotFound", **{"X-Repo-Commit": commit})
    headers = {"X-Repo-Commit": commit, "ETag": f'"{stored.oid}"', "Accept-Ranges": "bytes"}
    if stored.is_lfs:
        headers |= {"X-Linked-Etag": f'"{stored.oid}"', "X-Linked-Size": str(stored.size)}
        if xet := hub.xet.hash_of(stored.oid, name):
            token = f"{hub.url}/api/{kind}s/{name}/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": xet, "Link": f'<{token}>; rel="xet-auth"'}
    if request.method == "HEAD":
        return Response(200, b"", headers, stored.size)
    return _content(hub.raw(stored, name), stored.size, request.range, headers)


def _content(path: Path, size: int, wanted: str, headers: dict[str, str]) -> Response:
    with path.open("rb") as file:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        if not asked:
            return Response(200, file.read(), headers)
        begin = int(asked[1])
        end = min(int(asked[2] or size - 1), size - 1)
        if begin >= size:
            return Response(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
        file.seek(begin)
        part = file.read(end - begin + 1)
    return Response(206, part, {**headers, "Content-Range": f"bytes {begin}-{end}/{size}"})
