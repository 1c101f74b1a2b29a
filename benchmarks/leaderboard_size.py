"""How large a leaderboard is for whoever opens it, how long its making takes, and how fast it answers in Chromium.

Results are drawn from a seed: systems x characters x stories x shots, as `animeshooter evaluate` writes them, without
pictures. Prints one line of JSON. Times in the browser are medians over several clicks in one page, from the click
until the table is there and laid out; they depend on the machine and on what else runs on it, bytes do not.

Example:
    python benchmarks/leaderboard_size.py --systems 50 --ips 20 --stories-per-ip 10
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "eval"))
from results_maker import Maker

from animeshooter_hf.eval.leaderboard.board_site import BoardSettings, compare, write_board_site
from animeshooter_hf.eval.leaderboard.ranking import make_boards
from animeshooter_hf.eval.leaderboard.read_results import find_results, read_paper_rows, read_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CLICK = """(key) => new Promise((resolve) => {
  const old = document.querySelector('.board-main table');
  const start = performance.now();
  const wait = () => {
    const table = document.querySelector('.board-main table');
    if (table === old) { setTimeout(wait, 0); return; }
    table.getBoundingClientRect();
    resolve(performance.now() - start);
  };
  document.querySelector(`.board-main [data-sort="${key}"]`).click();
  wait();
})"""
OPEN = """([address, selector]) => new Promise((resolve) => {
  const start = performance.now();
  location.hash = address;
  const wait = () => {
    const found = document.querySelector(selector);
    if (!found) { setTimeout(wait, 0); return; }
    found.getBoundingClientRect();
    resolve(performance.now() - start);
  };
  setTimeout(wait, 0);
})"""
"""Address and an element of the page -> milliseconds until it is there."""


def make_runs(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the results of all systems."""
    for number in range(arguments.systems):
        Maker(
            name=f"lab/model-{number:02d}", level=0.7 - 0.2 * number / arguments.systems, spread=0.05,
            seed=arguments.seed + number, ips=arguments.ips, stories_per_ip=arguments.stories_per_ip,
            shots=arguments.shots, gated_by="static" if number % 10 == 9 else None,
        ).write(folder / f"{number:02d}" / "results.json")  # fmt: skip


def make_site(runs: Path, site: Path) -> dict[str, Any]:
    """Make the site and return sizes and processor seconds of each step."""
    marks = [time.process_time()]
    found = [read_results(path) for path in find_results([runs])]
    marks.append(time.process_time())
    boards = make_boards([*found, *read_paper_rows()])
    compared = [compare(board) for board in boards]
    marks.append(time.process_time())
    report = write_board_site(site, compared, BoardSettings())
    marks.append(time.process_time())

    def largest(kind: str) -> int:
        return round(max(path.stat().st_size for path in (site / "data" / kind).iterdir()) / 1e3)

    return {
        "systems": report.systems,
        "files": len(report.files),
        "megabytes": round(report.num_bytes / 1e6, 1),
        "first_page_kilobytes": round(report.first_bytes / 1e3),
        "largest_system_kilobytes": largest("systems"),
        "largest_story_kilobytes": largest("side"),
        "read_seconds": round(marks[1] - marks[0], 2),
        "compare_seconds": round(marks[2] - marks[1], 2),
        "write_seconds": round(marks[3] - marks[2], 2),
    }


def visit(site: Path, clicks: int) -> dict[str, Any]:
    """Open the site in Chromium and return milliseconds; nothing where there is no Chromium."""
    if CHROMIUM is None:
        return {}
    from playwright.sync_api import sync_playwright

    keys = ["name", "reference_fidelity.mean", "reference_fidelity.retrieval_at_1", "reference_fidelity.harmean_p"]
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto((site / "index.html").as_uri())
        page.locator(".board-main .place").first.wait_for()
        ready = page.evaluate("performance.now()")
        first = page.evaluate(CLICK, keys[0])
        session = page.context.new_cdp_session(page)
        session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
        session.send("Performance.enable")
        before = _busy_seconds(session)
        sorts = [page.evaluate(CLICK, keys[at % len(keys)]) for at in range(1, clicks + 1)]
        busy = _busy_seconds(session) - before
        columns = page.evaluate("animeshooter.contents.boards[0].columns.map((one) => one.key).join('~')")
        page.evaluate(OPEN, [f"#/?cols={columns}", ".board-main table"])
        wide = [page.evaluate(CLICK, keys[at % len(keys)]) for at in range(clicks)]
        systems = [
            page.evaluate(OPEN, [f"#/system/lab%2Fmodel-{at:02d}", ".stories-table"]) for at in range(min(clicks, 10))
        ]
        stories = [page.evaluate(OPEN, [f"#/story/ip{at:02d}-story00", ".panel-card"]) for at in range(min(clicks, 4))]
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        browser.close()
    return {
        "until_shown_ms": round(ready),
        "first_sort_ms": round(first, 1),
        "sort_ms": round(statistics.median(sorts), 1),
        "sort_processor_ms": round(1000 * busy / clicks, 1),
        "sort_all_columns_ms": round(statistics.median(wide), 1),
        "first_system_ms": round(systems[0], 1),
        "first_story_ms": round(stories[0], 1),
        "heap_megabytes": round(heap / 1e6, 1),
    }


def _busy_seconds(session: Any) -> float:
    """Return the processor seconds that the page's main thread has worked."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def main() -> None:
    """Make a board, open it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=50, help="rows (default: %(default)s)")
    parser.add_argument("--ips", type=int, default=20, help="characters (default: %(default)s)")
    parser.add_argument("--stories-per-ip", type=int, default=10, help="stories of each (default: %(default)s)")
    parser.add_argument("--shots", type=int, default=4, help="shots of a story (default: %(default)s)")
    parser.add_argument("--clicks", type=int, default=12, help="clicks of each median (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1000, help="of the first system (default: %(default)s)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="leaderboard_size_"))
    try:
        make_runs(folder / "runs", arguments)
        measured = make_site(folder / "runs", folder / "site")
        sys.stdout.write(json.dumps({**measured, **visit(folder / "site", arguments.clicks)}) + "\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
