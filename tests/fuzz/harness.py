"""One harness for all fuzzers: inputs by seed or by coverage, a time and a memory limit, counts, the input that did it.

A fuzzer gives `run_fuzzer` a `Target`: seeds (bytes), tokens, and `check(data: bytes) -> str`, which names the outcome
("value", "refused", ...) or raises. Whatever it raises is a crash, a check that takes longer than the limit a hang, and
one that needs more memory than allowed shows as a MemoryError or as a child that died; each ends the run with status 1
and the input in a file, so that `--replay FILE` repeats it.

Engines: `seeded` mutates the seeds with `random.Random(seed)`; the same seed and runs give the same inputs. `atheris`
(pip install atheris) follows coverage and runs in a child process of its own, as libFuzzer demands.

    python tests/fuzz/fuzz_release.py --runs 100000 --seed 1
    python tests/fuzz/fuzz_masks.py --seconds 60 --engine atheris

In a fuzzer, `from harness import Target, main` works since a script's folder is on the path; its last line is
`sys.exit(main(__doc__, TARGETS))`, with one or more targets.
"""

import argparse
import contextlib
import hashlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Finding", "FuzzReport", "Target", "main", "mutate", "run_fuzzer"]

_MAX_INPUT = 1 << 16
_INTERESTING = [0, 1, 7, 15, 16, 31, 32, 47, 48, 63, 64, 95, 96, 127, 128, 254, 255]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is fuzzed."""

    name: str
    """Short name, for `--target`."""

    check: Callable[[bytes], str]
    """Takes an input, returns the outcome in a word; raising anything is a finding."""

    seeds: Sequence[bytes]
    """Inputs to begin with; at least one."""

    tokens: Sequence[bytes] = ()
    """Pieces that mutations put in."""

    hang_seconds: float = 5.0
    """A check that takes longer is a finding."""

    memory_bytes: int = 2 << 30
    """Address space that the whole run may take beyond what it has at the start."""

    max_input_bytes: int = _MAX_INPUT
    """Longer inputs are cut."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that did what none may do."""

    kind: str
    """"crash", "hang" or "memory"."""

    data: bytes
    """The input."""

    detail: str
    """The traceback, or what was seen."""


@dataclass(slots=True)
class FuzzReport:
    """What a run showed."""

    name: str
    """The target."""

    runs: int = 0
    """Inputs checked."""

    seconds: float = 0.0
    """Wall time."""

    cpu_seconds: float = 0.0
    """Processor time."""

    slowest_seconds: float = 0.0
    """The longest check."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Outcome -> how often."""

    findings: list[Finding] = field(default_factory=list)
    """What must be fixed."""

    def line(self) -> str:
        """Return the report in a line."""
        words = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common(8))
        return (
            f"{self.name}: {self.runs:,} inputs in {self.cpu_seconds:.1f} CPU s, slowest "
            f"{1000 * self.slowest_seconds:.1f} ms, {len(self.findings)} findings ({words})"
        )


class _Hang(BaseException):
    """Raised by the alarm; no `except Exception` of the code under test can swallow it."""


def mutate(data: bytes, random_: random.Random, tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """Return the data after one to eight small changes."""
    text = bytearray(data)
    for _ in range(1 << random_.randrange(4)):
        at = random_.randrange(len(text) + 1)
        choice = random_.randrange(9)
        length = 1 << random_.randrange(7)
        if choice == 0 and text:
            text[at - 1] ^= 1 << random_.randrange(8)
        elif choice == 1 and text:
            text[at - 1] = random_.choice(_INTERESTING)
        elif choice == 2:
            del text[at : at + length]
        elif choice == 3:
            text[at:at] = random_.randbytes(min(length, 16))
        elif choice == 4 and tokens:
            text[at:at] = random_.choice(tokens)
        elif choice == 5 and tokens:
            token = random_.choice(tokens)
            text[at : at + len(token)] = token
        elif choice == 6:
            text[at:at] = text[at : at + length]
        elif choice == 7:
            other = random_.choice(others)
            begin = random_.randrange(len(other) + 1)
            text[at : at + length] = other[begin : begin + length]
        else:
            del text[at:]
    return bytes(text)


def run_fuzzer(
    target: Target, *, runs: int, seconds: float, seed: int, stop_after: int = 1, limit_memory: bool = True
) -> FuzzReport:
    """Return what `runs` inputs, or as many as `seconds` allow, showed; stops at the first finding or findings."""
    report = FuzzReport(target.name)
    random_ = random.Random(f"{target.name} {seed}")
    pool = list(target.seeds)
    started, cpu = time.perf_counter(), time.process_time()
    with _limits(target if limit_memory else None):
        while report.runs < runs and time.perf_counter() - started < seconds and len(report.findings) < stop_after:
            index = report.runs
            data = pool[index] if index < len(pool) else mutate(random_.choice(pool), random_, target.tokens, pool)
            _check(target, data[: target.max_input_bytes], report)
    report.seconds = time.perf_counter() - started
    report.cpu_seconds = time.process_time() - cpu
    return report


def _check(target: Target, data: bytes, report: FuzzReport) -> None:
    report.runs += 1
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, target.hang_seconds)
    try:
        outcome = target.check(data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        report.outcomes[outcome] += 1
    except _Hang:
        report.findings.append(Finding("hang", data, f"longer than {target.hang_seconds} s\n{traceback.format_exc()}"))
    except MemoryError:
        report.findings.append(Finding("memory", data, traceback.format_exc()))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        report.findings.append(Finding("crash", data, traceback.format_exc()))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        report.slowest_seconds = max(report.slowest_seconds, time.perf_counter() - started)


@contextlib.contextmanager
def _limits(target: Target | None) -> Iterator[None]:
    """Limit memory, and let the alarm raise, as long as the run lasts."""

    def ring(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if target is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
        limit = pages * resource.getpagesize() + target.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def _run_atheris(target: Target, arguments: argparse.Namespace) -> int:
    """Run libFuzzer in a child, which it never leaves, on a corpus of the seeds; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, found = Path(folder, "corpus"), Path(folder, "found")
        corpus.mkdir()
        found.mkdir()
        for number, data in enumerate(target.seeds):
            (corpus / f"seed{number:03d}").write_bytes(data)
        words = [
            *(sys.executable, sys.argv[0], "--engine", "atheris-child", "--target", target.name, str(corpus)),
            *(f"-seed={arguments.seed}", f"-runs={arguments.runs}", f"-max_total_time={int(arguments.seconds)}"),
            *(f"-timeout={int(target.hang_seconds)}", f"-rss_limit_mb={target.memory_bytes >> 20}"),
            *(f"-max_len={target.max_input_bytes}", f"-artifact_prefix={found}/", "-print_final_stats=1"),
        ]
        if target.tokens:
            escaped = ["".join(f"\\x{byte:02x}" for byte in token) for token in target.tokens]
            (Path(folder) / "tokens").write_text("".join(f'"{token}"\n' for token in escaped))
            words.append(f"-dict={folder}/tokens")
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode("utf-8", "replace")
        stats = [line for line in text.splitlines() if line.startswith("stat::") or "DONE" in line]
        sys.stdout.write(f"{target.name} (atheris, seed {arguments.seed}): status {done.returncode}\n")
        sys.stdout.write("".join(f"  {line}\n" for line in stats))
        if done.returncode:
            sys.stdout.write(text[-4000:] + "\n")
            for path in sorted(found.iterdir()):
                _save(Finding(path.name.split("-")[0], path.read_bytes(), ""), target, arguments)
        return int(done.returncode != 0)


def _atheris_child(target: Target, words: list[str]) -> int:
    import atheris

    atheris.instrument_all()

    def check(data: bytes) -> None:
        target.check(data)

    atheris.Setup([sys.argv[0], *words], check)
    atheris.Fuzz()
    return 0


def _save(finding: Finding, target: Target, arguments: argparse.Namespace) -> None:
    path = arguments.findings / f"{target.name}-{finding.kind}-{hashlib.sha256(finding.data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(finding.data)
    sys.stdout.write(f"{finding.kind}: {finding.data[:200]!r}\n{finding.detail}\n  saved as {path}\n")


def main(description: str | None, targets: Sequence[Target], argv: Sequence[str] | None = None) -> int:
    """Fuzz the targets by the words of the command line; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="most inputs per target")
    parser.add_argument("--seconds", type=float, default=600, help="longest wall time per target")
    parser.add_argument("--seed", type=int, default=0, help="decides which inputs")
    parser.add_argument("--target", action="append", choices=[target.name for target in targets], help="only this one")
    parser.add_argument("--engine", choices=["seeded", "atheris", "atheris-child"], default="seeded", help="see above")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir(), "fuzz-findings"), metavar="DIR")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="check one input and show its traceback")
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.engine != "atheris-child":
        parser.error(f"unknown words: {' '.join(rest)}")
    chosen = [target for target in targets if not arguments.target or target.name in arguments.target]
    if arguments.engine == "atheris-child":
        return _atheris_child(chosen[0], rest)
    if arguments.replay:
        sys.stdout.write(
            "".join(f"{target.name}: {target.check(arguments.replay.read_bytes())}\n" for target in chosen)
        )
        return 0
    status = 0
    for target in chosen:
        if arguments.engine == "atheris":
            status |= _run_atheris(target, arguments)
            continue
        report = run_fuzzer(target, runs=arguments.runs, seconds=arguments.seconds, seed=arguments.seed)
        sys.stdout.write(f"{report.line()}, seed {arguments.seed}\n")
        for finding in report.findings:
            _save(finding, target, arguments)
        status |= bool(report.findings)
    return status
