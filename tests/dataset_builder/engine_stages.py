"""Stages for tests of the engine: they do what films do to a decoder, without a film."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.engine.stage import Item, NotYetError, StageContext, StageResult, file_state
from animeshooter_hf.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Read:
    """Reads the film, notes that it ran, and misbehaves if the film tells it to."""

    log: Path
    salt: str = ""
    name: str = "read"
    version: int = 1
    needs: tuple[str, ...] = ()

    def settings_key(self) -> Mapping[str, Any]:
        return {"salt": self.salt}

    def item_key(self, item: Item) -> Mapping[str, Any]:
        return {"film": file_state(item.path)}

    def run(self, context: StageContext) -> StageResult:
        with self.log.open("a") as file:
            file.write(f"{context.item.id} {self.name}\n")
        text = context.item.path.read_text()
        misbehave(text)
        return StageResult(
            output={"text": text, "blob": f"{context.blob_prefix}.txt"}, blobs={".txt": (text + self.salt).encode()}
        )


@dataclass(frozen=True)
class Hash:
    """Hashes what `Read` kept."""

    log: Path
    salt: str = ""
    seconds: float = 0.0
    most: int = 10**6
    """How many lines the log may hold before units go on no more."""
    name: str = "hash"
    version: int = 1
    needs: tuple[str, ...] = ("read",)

    def settings_key(self) -> Mapping[str, Any]:
        return {"salt": self.salt}

    def item_key(self, item: Item) -> Mapping[str, Any]:
        return {}

    def run(self, context: StageContext) -> StageResult:
        with self.log.open("a") as file:
            file.write(f"{context.item.id} {self.name}\n")
        time.sleep(self.seconds)
        while len(self.log.read_text().splitlines()) > self.most:
            time.sleep(0.01)
        content = context.fetch(context.inputs["read"]["blob"]).read_bytes()
        return StageResult(output={"sha256": hashlib.sha256(content + self.salt.encode()).hexdigest()})


def misbehave(text: str) -> None:
    if text == "raise":
        raise RuntimeError("the film is cursed")
    if text == "refuse":
        raise InputError("The film is refused.")
    if text == "wait":
        raise NotYetError("the budget is spent")
    if text == "extra":
        raise MissingExtraError("Reading needs x. Install it with: pip install 'animeshooter-hf[x]'")
    if text == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "exit":
        os._exit(3)
    if text == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with Path(os.environ["CHILD_PIDS"]).open("a") as file:
            file.write(f"{child.pid}\n")
        time.sleep(600)
    if text == "grow":
        held = []
        while True:
            held.append(bytearray(16 << 20))
            time.sleep(0.01)
