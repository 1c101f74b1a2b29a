"""A small server for looking at a site here: it answers ranges, which a player needs to jump within a clip."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from animeshooter_hf.errors import InputError

__all__ = ["site_server"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@contextmanager
def site_server(folder: Path, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Yield a server of a folder on 127.0.0.1, which nobody else can reach; the caller runs it.

    Args:
        folder: What is served.
        port: Its port; 0 takes a free one.

    Raises:
        InputError: If the port is taken.
    """

    class Handler(_Handler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"Port {port} cannot be served from; name another one, or 0 for any that is free.") from error
    server.daemon_threads = True
    try:
        yield server
    finally:
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012, the base class has it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".flac": "audio/flac",
        ".webp": "image/webp",
        ".mp4": "video/mp4",
    }
    _left: int | None = None

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def send_head(self) -> Any:
        """Answer a range of a file; everything else as the base class does."""
        path = Path(self.translate_path(self.path))
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        self._left = None
        if asked is None or not any(asked.groups()) or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
        last = min(size - 1, int(asked[2])) if asked[1] and asked[2] else size - 1
        if first > last:
            self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return None
        file = path.open("rb")
        file.seek(first)
        self._left = last - first + 1
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(self._left))
        self.end_headers()
        return file

    def copyfile(self, source: BinaryIO, outputfile: Any) -> None:  # type: ignore[override]
        """Send the file, or the part that was asked for; a reader that goes away is no error."""
        left = self._left
        try:
            while block := source.read(1 << 16 if left is None else min(left, 1 << 16)):
                outputfile.write(block)
                left = None if left is None else left - len(block)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
