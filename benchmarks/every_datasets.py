"""Open one dataset folder with every `datasets` that people still have, each in an environment of its own.

For each version, config and way it is checked that the dataset opens, that its columns have the types of the files
(media as media), and that every row is equal to what lies in the Parquet files. The ways:

    folder      load_dataset(FOLDER, config)
    bare        load_dataset("parquet", data_files=...)
    columns     load_dataset(FOLDER, config, columns=[...])
    hub         load_dataset("me/data", config), over a Hub on loopback
    class       the builder's class itself
    script      load_dataset("loading_script.py", config, data_dir=FOLDER, trust_remote_code=True); before 4.0 only
    script-hub  the same with data_dir="me/data"

"folder+", "bare+" and so on are the same, streamed. Media are read through `cast_column(..., decode=False)`.
`datasets` 2 knows no video: there `shots` and `audio` open through the script or the class only, the clip as bytes.

Exit status 1 if something that should work does not. Environments are made with `uv` and kept for the next time.

Example:
    python benchmarks/every_datasets.py out/dataset
    python benchmarks/every_datasets.py out/dataset --versions 3.6.0 2.21.0 --environments /tmp/environments
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "dataset_builder" / "loading_script.py"
VERSIONS = ("5.2.0", "4.8.5", "3.6.0", "2.21.0")
CONFIGS = ("stories", "shots", "references", "audio")
WAYS = (
    "folder",
    "folder+",
    "bare",
    "bare+",
    "columns",
    "hub",
    "hub+",
    "class",
    "class+",
    "script",
    "script+",
    "script-hub",
)
MEDIA = {"video": "Video", "audio": "Audio", "image": "Image", "cutout": "Image", "mask": "Image"}
REPOSITORY = "me/data"


def should_work(version: str, config: str, way: str) -> bool | None:
    """Return whether a way should work; None if there is no such way in this version."""
    major = int(version.split(".")[0])
    if way.startswith("script") and major >= 4:
        return None
    return major >= 3 or config in ("stories", "references") or way.startswith(("script", "class"))


def main() -> int:
    """Run all versions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a dataset folder, such as out/dataset after `make`")
    parser.add_argument("--versions", nargs="+", default=VERSIONS, help="of datasets")
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "every-datasets")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        run_client(arguments.folder.resolve(), arguments.client)
        return 0
    if not (arguments.folder / "README.md").is_file():
        parser.error(f"{arguments.folder} is no dataset folder")
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    from loopback_hub import loopback_hub

    failures = 0
    with tempfile.TemporaryDirectory() as scratch, loopback_hub(Path(scratch) / "hub") as hub:
        upload(arguments.folder, hub.url)
        for version in arguments.versions:
            python = make_environment(version, arguments.environments, arguments.python)
            results = ask(python, version, arguments.folder, hub.url, Path(scratch) / version)
            failures += show(version, results)
    print(f"{failures} of those that should work do not.")
    return 1 if failures else 0


def make_environment(version: str, folder: Path, python: str) -> Path:
    """Return the interpreter of an environment with one version of `datasets`."""
    made = folder / version / "bin" / "python"
    if not made.exists():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", python, str(folder / version)], check=True)
        wanted = [f"datasets=={version}", "pillow", "soundfile"]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(made), *wanted], check=True)
    return made


def upload(folder: Path, address: str) -> None:
    """Put the folder on the Hub on loopback."""
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    from huggingface_hub import HfApi

    api = HfApi(endpoint=address, token="hf_loopback")
    api.create_repo(REPOSITORY, repo_type="dataset")
    api.upload_folder(repo_id=REPOSITORY, repo_type="dataset", folder_path=folder)


def ask(python: Path, version: str, folder: Path, address: str, home: Path) -> dict[tuple[str, str], str]:
    """Return (config, way) -> "yes", or why not, as the environment itself finds."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_TOKEN": "hf_loopback",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": "",
    }
    command = [str(python), __file__, str(folder), "--client", version]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    if done.returncode:
        raise SystemExit(f"datasets {version} ended with an error:\n{done.stderr[-3000:]}")
    return {(one["config"], one["way"]): one["result"] for one in said}


def show(version: str, results: dict[tuple[str, str], str]) -> int:
    """Print what one version does and return how much of it is wrong."""
    failures = []
    print(f"\n| datasets {version} | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for config in CONFIGS:
        cells = []
        for way in WAYS:
            expected, result = should_work(version, config, way), results.get((config, way))
            if expected is None or result is None:
                cells.append("")
            else:
                cells.append("yes" if result == "yes" else "NO" if expected else "no, as known")
                failures += [f"{config}, {way}: {result}"] if expected and result != "yes" else []
        print(f"| {config} | {' | '.join(cells)} |")
    print(*failures, sep="\n", end="\n" if failures else "")
    return len(failures)


def run_client(folder: Path, version: str) -> None:
    """Try every way with the `datasets` of this environment; a line of JSON for each."""
    import datasets

    if datasets.__version__ != version:
        raise SystemExit(f"This environment has datasets {datasets.__version__}, not {version}.")
    for config in CONFIGS:
        if (folder / config).is_dir():
            for way in WAYS:
                if should_work(version, config, way) is not None:
                    print(
                        "@" + json.dumps({"config": config, "way": way, "result": try_way(folder, config, way)}),
                        flush=True,
                    )


def try_way(folder: Path, config: str, way: str) -> str:
    """Return "yes" if a way gives what lies in the files, else what is wrong."""
    import pyarrow.parquet as pq

    splits = sorted({path.name.split("-")[0] for path in (folder / config).glob("*.parquet")})
    with tempfile.TemporaryDirectory() as cache:
        try:
            for split in splits:
                files = sorted((folder / config).glob(f"{split}-*.parquet"))
                columns = (
                    ["story_id", "storyline" if config != "references" else "appearance"] if way == "columns" else None
                )
                expected = [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]
                found = open_way(folder, config, way.rstrip("+"), split, way.endswith("+"), columns, cache)
                wrong = compare(found, expected, pq.read_schema(files[0]), columns)
                if wrong:
                    return f"{split}: {wrong}"
        except Exception as error:  # the table says of any error that this way does not work
            return f"{type(error).__name__}: {str(error)[:300]}"
    return "yes"


def open_way(
    folder: Path, config: str, way: str, split: str, streamed: bool, columns: list[str] | None, cache: str
) -> Any:
    """Return the rows of a split, opened in one of the ways."""
    from datasets import load_dataset

    more: dict[str, Any] = {"split": split, "streaming": streamed, "cache_dir": cache}
    scripted = {**more, "trust_remote_code": True}
    opened: dict[str, Callable[[], Any]] = {
        "folder": lambda: load_dataset(str(folder), config, **more),
        "columns": lambda: load_dataset(str(folder), config, columns=columns, **more),
        "bare": lambda: load_dataset(
            "parquet", data_files={split: [str(path) for path in sorted((folder / config).glob(f"{split}-*"))]}, **more
        ),
        "hub": lambda: load_dataset(REPOSITORY, config, **more),
        "script": lambda: load_dataset(str(SCRIPT), config, data_dir=str(folder), **scripted),
        "script-hub": lambda: load_dataset(str(SCRIPT), config, data_dir=REPOSITORY, **scripted),
        "class": lambda: open_class(folder, config, split, streamed, cache),
    }
    return opened[way]()


def open_class(folder: Path, config: str, split: str, streamed: bool, cache: str) -> Any:
    """Return the rows of a split through the class of the script, which any version can be given."""
    spec = importlib.util.spec_from_file_location("loading_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["loading_script"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    builder = module.AnimeShooter(config_name=config, data_dir=folder, cache_dir=cache)
    if streamed:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare()
    return builder.as_dataset(split=split)


def compare(found: Any, expected: list[dict[str, Any]], schema: Any, columns: list[str] | None) -> str | None:
    """Return what is wrong with rows that were read, or None."""
    import datasets

    features = found.features
    names = columns or schema.names
    if list(features) != names:
        return f"the columns are {list(features)}"
    for name in names:
        if features.arrow_schema.field(name).type != schema.field(name).type:
            return f"{name} is {features.arrow_schema.field(name).type}, in the files {schema.field(name).type}"
        kind = MEDIA.get(name)
        if kind and hasattr(datasets, kind):
            if type(features[name]).__name__ != kind:
                return f"{name} is no {kind} but {features[name]}"
            found = found.cast_column(name, getattr(datasets, kind)(decode=False))
    rows = [dict(row) for row in found]
    if rows != expected:
        return f"{len(rows)} rows are not the {len(expected)} of the files"
    return None


if __name__ == "__main__":
    sys.exit(main())
