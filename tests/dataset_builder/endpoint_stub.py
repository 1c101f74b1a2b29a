"""A model server on loopback, test equipment: it speaks OpenAI's chat completions and Gemini's generateContent.

    with start_stub(lambda body: '{"a": 1}', faults=[429, "truncate", None]) as stub:
        ...                      # a client at stub.url (OpenAI's base_url) or stub.gemini_url
        stub.log[0].body         # what was asked, in order of arrival
        stub.usage_total         # the tokens of all answers that were sent whole

The n-th request gets the n-th fault; after the last one all is well. A fault may also be a function of the request, to
fail by content instead of by order. Faults:

    None                     a whole answer
    408, 409, 429, 500, 503  that status; 400, 401, 404 too
    Fault(429, retry_after_seconds=0.05)   with Retry-After-Ms, or Retry-After where `in_seconds` is set
    "truncate"   half of the answer, finish reason length    "fence"    the answer in a Markdown fence, with a greeting
    "filter"     nothing, finish reason content_filter       "refuse"   the refusal field (Gemini: a blocked prompt)
    "empty"      no choices                                  "blank"    an empty text
    "not_json"   status 200 and half a JSON document         "html"     status 200 and a page
    "cut"        the connection breaks in mid-answer         "drop"     it breaks before the answer
    "hang"       no answer until the stub closes             Fault("slow", seconds=0.2)   the answer comes late

Tokens are made up from the request and the answer, so that sums are not multiples of one number.
"""

import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from animeshooter_hf.dataset_builder.annotate.question import Usage

__all__ = ["AnyFault", "Fault", "Stub", "StubRequest", "start_stub", "texts_of"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request."""

    kind: int | str
    """A status, or one of the words in the module's docstring."""

    seconds: float = 0.0
    """How late an answer is ("slow")."""

    retry_after_seconds: float | None = None
    """What the server asks for with a status."""

    in_seconds: bool = False
    """Ask with Retry-After (seconds) instead of Retry-After-Ms."""

    retry_info_seconds: float | None = None
    """What the server asks for in the body, as Google does."""

    message: str = "injected fault"
    """What a status says."""

    code: str | None = None
    """OpenAI's word for the error; the status if None."""


AnyFault = Fault | int | str | None


@dataclass(frozen=True, slots=True)
class StubRequest:
    """A request that arrived."""

    number: int
    """In order of arrival, from 0."""

    seconds: float
    """When, by `time.time()`."""

    path: str
    """Of the URL."""

    body: dict[str, Any]
    """What was sent."""

    headers: dict[str, str]
    """Names in lower case."""


@dataclass(slots=True)
class Stub:
    """The running server."""

    answer: Callable[[dict[str, Any]], str]
    """Returns the text of an answer, given the request's body."""

    faults: Sequence[AnyFault] | Callable[[StubRequest], AnyFault]
    """By order of arrival, or by request."""

    log: list[StubRequest] = field(default_factory=list)
    """All requests."""

    usage_total: Usage = field(default_factory=Usage)
    """Tokens of the answers that were sent whole, whatever their finish reason."""

    num_answers: int = 0
    """Answers that were sent whole."""

    most_in_flight: int = 0
    """Most requests that were open at once."""

    closed: threading.Event = field(default_factory=threading.Event)
    """Set when the stub goes down; a hanging request waits for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards the counts."""

    in_flight: int = 0
    """Requests that are open now."""

    server: "_Server | None" = None
    """The HTTP server."""

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        """The `base_url` of OpenAI's client."""
        return f"{self.address}/v1"

    @property
    def gemini_url(self) -> str:
        """The `base_url` of Google's client."""
        return self.address

    def asked(self) -> list[str]:
        """Return the text of each request, in order of arrival."""
        with self.lock:
            return ["\n".join(texts_of(request.body)) for request in self.log]

    def close(self) -> None:
        """Stop; requests that hang are let go."""
        self.closed.set()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def __enter__(self) -> "Stub":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_stub(
    answer: Callable[[dict[str, Any]], str] = lambda body: "{}",
    faults: Sequence[AnyFault] | Callable[[StubRequest], AnyFault] = (),
) -> Stub:
    """Return a running stub; use it as a context manager.

    Args:
        answer: Returns the answer's text, given the request's body (OpenAI's or Gemini's). Must be safe to call from
            threads.
        faults: By order of arrival, or a function of the request.
    """
    stub = Stub(answer, faults)
    stub.server = _Server(stub)
    threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return stub


def texts_of(body: dict[str, Any]) -> list[str]:
    """Return the texts of a request's body, in order, of either interface."""
    texts: list[str] = []
    for turn in body.get("messages") or body.get("contents") or ():
        content = turn.get("content") if "content" in turn else turn.get("parts")
        if isinstance(content, str):
            texts.append(content)
            continue
        texts += [part["text"] for part in content or () if "text" in part]
    return texts


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, stub: Stub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stub = stub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    server: _Server

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer one question, or fail as ordered."""
        stub = self.server.stub
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with stub.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = StubRequest(len(stub.log), time.time(), self.path, body, headers)
            stub.log.append(request)
            stub.in_flight += 1
            stub.most_in_flight = max(stub.most_in_flight, stub.in_flight)
        self._is_in_flight = True
        try:
            self._respond(stub, request)
        finally:
            self._land()

    def _land(self) -> None:
        """Count the request no more: before its client hears of it, who may ask the next one at once."""
        if self._is_in_flight:
            self._is_in_flight = False
            with self.server.stub.lock:
                self.server.stub.in_flight -= 1

    def _respond(self, stub: Stub, request: StubRequest) -> None:
        fault = _fault(stub, request)
        if isinstance(fault.kind, int):
            self._send_status(fault)
        elif fault.kind == "hang":
            stub.closed.wait(60)
            self.close_connection = True
        elif fault.kind == "drop":
            self._break()
        elif fault.kind == "html":
            self._send(b"<html>Down for maintenance</html>", {"content-type": "text/html"})
        else:
            stub.closed.wait(fault.seconds)
            self._send_answer(stub, request, str(fault.kind))

    def _send_status(self, fault: Fault) -> None:
        headers = {}
        if fault.retry_after_seconds is not None and fault.in_seconds:
            headers["retry-after"] = f"{fault.retry_after_seconds:g}"
        elif fault.retry_after_seconds is not None:
            headers["retry-after-ms"] = str(round(1000 * fault.retry_after_seconds))
        error: dict[str, Any] = {"message": fault.message, "type": "stub", "code": fault.code or fault.kind}
        if fault.retry_info_seconds is not None:
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{fault.retry_info_seconds}s"}
            error |= {"status": "RESOURCE_EXHAUSTED", "details": [info]}
        self._send(json.dumps({"error": error}).encode(), headers, int(fault.kind))

    def _send_answer(self, stub: Stub, request: StubRequest, kind: str) -> None:
        text, reason = _spoil(stub.answer(request.body), kind)
        usage = _usage(request.body, text)
        make = _gemini if request.path.endswith(":generateContent") else _openai
        data = json.dumps(make(request, text, reason, kind, usage)).encode()
        if kind == "not_json":
            self._send(data[: len(data) // 2])
        elif kind == "cut":
            self._start(len(data))
            self.wfile.write(data[: len(data) // 2])
            self._break()
        else:
            with stub.lock:
                stub.usage_total = _add(stub.usage_total, usage)
                stub.num_answers += 1
            self._send(data)

    def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self._start(len(data), headers, status)
        self.wfile.write(data)

    def _start(self, length: int, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self._land()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.end_headers()

    def _break(self) -> None:
        self._land()
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def _fault(stub: Stub, request: StubRequest) -> Fault:
    if callable(stub.faults):
        found = stub.faults(request)
    else:
        found = stub.faults[request.number] if request.number < len(stub.faults) else None
    return found if isinstance(found, Fault) else Fault("ok" if found is None else found)


def _spoil(text: str, kind: str) -> tuple[str, str]:
    """Return the text as it is sent, and the finish reason (OpenAI's word)."""
    if kind == "truncate":
        return text[: len(text) // 2], "length"
    if kind == "fence":
        return f"Here is the JSON:\n```json\n{text}\n```\n", "stop"
    if kind == "filter":
        return "", "content_filter"
    return ("" if kind in ("blank", "refuse", "empty") else text), "stop"


def _usage(body: dict[str, Any], text: str) -> Usage:
    prompt = 100 + zlib.crc32(json.dumps(body, sort_keys=True).encode()) % 900
    return Usage(prompt_tokens=prompt, cached_tokens=prompt // 10, output_tokens=len(text) // 4 + 1)


def _add(first: Usage, second: Usage) -> Usage:
    return Usage(
        first.prompt_tokens + second.prompt_tokens,
        first.cached_tokens + second.cached_tokens,
        first.output_tokens + second.output_tokens,
    )


def _openai(request: StubRequest, text: str, reason: str, kind: str, usage: Usage) -> dict[str, Any]:
    message = {"role": "assistant", "content": text or (None if kind != "blank" else ""), "refusal": None}
    if kind == "refuse":
        message["refusal"] = "I cannot help with that."
    choice = {"index": 0, "finish_reason": reason, "message": message, "logprobs": None}
    return {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion",
        "created": int(request.seconds),
        "model": f"{request.body.get('model')}-stub",
        "choices": [] if kind == "empty" else [choice],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        },
    }


def _gemini(request: StubRequest, text: str, reason: str, kind: str, usage: Usage) -> dict[str, Any]:
    words = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
    candidate: dict[str, Any] = {"index": 0, "finishReason": words[reason]}
    if text or kind == "blank":
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    thoughts = usage.output_tokens // 3
    found: dict[str, Any] = {
        "candidates": [] if kind in ("empty", "refuse") else [candidate],
        "modelVersion": request.path.split("/")[-1].removesuffix(":generateContent") + "-stub",
        "usageMetadata": {
            "promptTokenCount": usage.prompt_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
            "candidatesTokenCount": usage.output_tokens - thoughts,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": usage.prompt_tokens + usage.output_tokens,
        },
    }
    if kind == "refuse":
        found["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
    return found
