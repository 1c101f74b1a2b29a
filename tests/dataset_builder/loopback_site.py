"""A video site on loopback, test equipment: files with ranges, and faults by the path.

/ok/NAME.mp4            the file
/fail/503,429/NAME.mp4  these status codes first, then the file
/say/403/PAGE.html      always this code, with a page of the given words
/cut/NAME.mp4           the connection is cut in the middle, once per file
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["LoopbackSite", "loopback_site"]


@dataclass(slots=True)
class LoopbackSite:
    """The server's state, and the hooks of the tests."""

    video: bytes
    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    """Path -> HTML."""

    retry_after: str | None = None
    """Header that goes with 429 and 503."""

    requests: list[tuple[float, str, str, str | None]] = field(default_factory=list)
    """(time, method, path, range)."""

    cookies: list[str | None] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)

    def asked(self, path: str) -> list[str | None]:
        """Return the ranges asked for in a path, in order."""
        return [part for _, _, where, part in self.requests if where == path]

    def times(self, path: str) -> list[float]:
        """Return when a path was asked for."""
        return [when for when, _, where, _ in self.requests if where == path]


@contextmanager
def loopback_site(video: bytes) -> Iterator[LoopbackSite]:
    """Run the site on a free port of 127.0.0.1 for the time of the block."""
    site = LoopbackSite(video)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Stay quiet when a client goes away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: LoopbackSite

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        site = self.site
        site.requests.append((time.monotonic(), self.command, self.path, self.headers.get("Range")))
        site.cookies.append(self.headers.get("Cookie"))
        kind = self.path.split("/")[1]
        if self.path in site.pages:
            self._send(200, site.pages[self.path].encode(), "text/html")
        elif kind == "say":
            self._send(int(self.path.split("/")[2]), b"<p>no</p>", "text/html")
        elif kind == "fail" and (codes := site.faults.setdefault(self.path, self._codes())):
            self._send(codes.pop(0), b"later", "text/plain", **self._wait())
        elif kind in ("ok", "fail", "cut"):
            self._send_video(kind == "cut" and self.path not in site.cut)
        else:
            self._send(404, b"nothing", "text/html")

    do_HEAD = do_GET

    def _codes(self) -> list[int]:
        return [int(code) for code in self.path.split("/")[2].split(",")]

    def _wait(self) -> dict[str, str]:
        return {"Retry-After": self.site.retry_after} if self.site.retry_after else {}

    def _send_video(self, is_cut: bool) -> None:
        video = self.site.video
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2] or len(video) - 1), len(video) - 1) if asked else len(video) - 1
        part = video[first : last + 1]
        ranges = {"Content-Range": f"bytes {first}-{last}/{len(video)}"} if asked else {}
        self.send_response(206 if asked else 200)
        for name, value in {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", **ranges}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "HEAD":
            return
        # The first look at a file takes a few bytes; only a download is cut.
        if is_cut and len(self.site.asked(self.path)) > 1:
            self.site.cut.add(self.path)
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        try:
            self.wfile.write(part)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, code: int, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
