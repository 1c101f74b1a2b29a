"""HTTP of the Hub on loopback: reads a request, lets faults happen, sends what `loopback_api` answers."""

import contextlib
import json
import re
import socket
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_api import Request, Response, answer
from loopback_faults import Fault

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub

__all__ = ["Handler"]

_UPLOAD = re.compile(r"/__lfs/([0-9a-f]{64})")


class _CutError(Exception):
    """The connection ends here."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one piece; in two, each answer waits 40 ms for a delayed acknowledgement
    hub: "LoopbackHub"

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        """Answer any request."""
        fault = self._fault()
        try:
            self._fall(fault, "before")
            body = self._body(fault)
            with self.hub.lock:
                self.hub.requests.append((self.command, self.path, len(body)))
            if fault and fault.status:
                headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
                self._send(Response(fault.status, {"error": "ordered by the test"}, headers))
                return
            address = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=unquote(address.path),
                query=parse_qs(address.query),
                body=body,
                token=(self.headers.get("Authorization") or "").removeprefix("Bearer ").strip(),
                range=self.headers.get("Range") or "",
            )
            response = answer(self.hub, request)
            self._fall(fault, "after")
            self._send(response)
        except (_CutError, ConnectionError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _fault(self) -> Fault | None:
        if self.command == "PUT" and self.hub.cut_uploads and _UPLOAD.search(self.path):
            self.hub.cut_uploads -= 1
            return Fault("PUT", "", when="during", is_cut=True)
        return self.hub.faults.take(self.command, self.path)

    def _fall(self, fault: Fault | None, when: str) -> None:
        """Let a fault happen if this is its place."""
        if fault is None or fault.when != when or fault.status:
            return
        if fault.pause:
            fault.pause.hold()
        if fault.is_cut or (fault.pause and fault.pause.is_dropped):
            raise _CutError

    def _body(self, fault: Fault | None) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self._chunked(fault)
        length = int(self.headers.get("Content-Length") or 0)
        half = self._received(self.rfile.read(length // 2))
        self._fall(fault, "during")
        return half + self._received(self.rfile.read(length - len(half)))

    def _chunked(self, fault: Fault | None) -> bytes:
        data = b""
        while size := int(self.rfile.readline() or b"0", 16):
            data += self._received(self.rfile.read(size))
            self.rfile.readline()
            self._fall(fault, "during")
            fault = None
        self.rfile.readline()
        return data

    def _received(self, data: bytes) -> bytes:
        """Count the bytes of an object."""
        if data and self.command == "PUT" and (upload := _UPLOAD.search(self.path)):
            with self.hub.lock:
                self.hub.received[upload[1]] += len(data)
        return data

    def _send(self, response: Response) -> None:
        body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if not isinstance(response.body, bytes):
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if response.length is None else response.length))
        self.end_headers()
        if self.command != "HEAD":
            with self.hub.lock:
                self.hub.bytes_sent += len(body)
            self.wfile.write(body)
