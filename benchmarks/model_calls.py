"""What the stack around a model costs, and what a killed run pays twice.

Against a stub on loopback that answers at once: questions per second of the bare client, of the whole stack (cache,
ledger, budget, limits, client), and of a re-run that finds everything in the cache. Then rounds of `kill -9` at random
moments: a child asks the same questions with several threads, is killed, and is started again until it gets through;
printed is how many answered questions were asked again (must be 0), and how many calls were lost in flight.

    python benchmarks/model_calls.py --questions 200 --kills 20 --seed 1
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.accounting import summarise_calls
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, ledger_path, open_model
from animeshooter_hf.dataset_builder.annotate.openai_model import OpenAIModel
from animeshooter_hf.dataset_builder.annotate.question import Answer, Picture, Question, Text, cache_key

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dataset_builder"))
from endpoint_stub import Fault, start_stub

KILL_SECONDS = 0.15
"""A child is killed at most so long after its first call."""

CHILD = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, open_model
from animeshooter_hf.dataset_builder.annotate.question import Question, Text
model = open_model(ModelConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]))
questions = [Question(name="n", parts=(Text(f"Number {n}?"),), max_output_tokens=9) for n in range(int(sys.argv[3]))]
with ThreadPoolExecutor(4) as pool:
    assert all(answer.outcome == "ok" for answer in pool.map(model.ask, questions))
"""


def questions_per_second(ask: Callable[[Question], Answer], questions: list[Question]) -> float:
    """Return how many questions are answered a second, one after the other."""
    started = time.perf_counter()
    for question in questions:
        ask(question)
    return len(questions) / (time.perf_counter() - started)


def measure_speed(num_questions: int, folder: Path) -> None:
    """Print the speed of the bare client, of the stack, and of a re-run."""
    jpeg = b"\xff\xd8" + bytes(30_000)
    questions = [Question(name="n", parts=(Text(f"Number {n}?"), Picture(jpeg))) for n in range(num_questions)]
    with start_stub(lambda body: "{}") as stub:
        config = ModelConfig(
            kind="openai", model="gpt-4.1", base_url=stub.url, needs_key=False, budget_money=1e6, rpm=10**6
        )
        bare = questions_per_second(OpenAIModel(stub.url, "gpt-4.1", api_key_env=None).ask, questions)
        stack = questions_per_second(open_model(config, folder).ask, questions)
        again = questions_per_second(open_model(config, folder).ask, questions)
        num_calls = len(stub.log) - 2 * num_questions
    print(f"bare client      {bare:8.0f} questions/s")
    print(f"whole stack      {stack:8.0f} questions/s, {1000 / stack - 1000 / bare:.1f} ms more a question")
    print(f"from the cache   {again:8.0f} questions/s, {num_calls} calls")


def measure_kills(num_questions: int, num_kills: int, seed: int, folder: Path) -> None:
    """Print what a run that is killed again and again asks twice."""
    draw = random.Random(seed)
    with start_stub(lambda body: "{}", lambda request: Fault("slow", seconds=0.02)) as stub:
        config: dict[str, Any] = {
            "kind": "openai",
            "model": "gpt-4.1",
            "base_url": stub.url,
            "needs_key": False,
            "budget_money": 1e3,
        }
        command = [sys.executable, "-c", CHILD, json.dumps(config), str(folder), str(num_questions)]
        settings = open_model(ModelConfig(**config), folder).settings_key()
        texts = [f"Number {n}?" for n in range(num_questions)]
        keys = [cache_key(Question(name="n", parts=(Text(text),), max_output_tokens=9), settings) for text in texts]
        texts_of_keys = dict(zip(keys, texts, strict=True))
        repeated = kills = 0
        while True:
            kept = {texts_of_keys[path.stem] for path in (folder / "cache").rglob("*.json") if path.name[0] != "."}
            if len(kept) == num_questions:
                break
            num_before = len(stub.log)
            child = subprocess.Popen(command)
            if kills < num_kills:
                while len(stub.log) == num_before and child.poll() is None:
                    time.sleep(0.001)
                time.sleep(draw.uniform(0.0, KILL_SECONDS))
                kills += child.poll() is None
                child.kill()
            child.wait()
            repeated += sum(text in kept for text in stub.asked()[num_before:])
    summary = summarise_calls(ledger_path(folder))
    booked = summary.total.calls - summary.total.from_cache
    print(f"{kills} kills: {len(stub.log)} calls for {num_questions} questions, {repeated} answered ones asked again,")
    print(f"{len(stub.log) - booked} calls not booked, {summary.damaged_lines} damaged lines in the ledger")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=200, help="questions")
    parser.add_argument("--kills", type=int, default=20, help="times that the run is killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_speed(arguments.questions, Path(folder) / "speed")
        measure_kills(arguments.questions, arguments.kills, arguments.seed, Path(folder) / "kills")


if __name__ == "__main__":
    main()
