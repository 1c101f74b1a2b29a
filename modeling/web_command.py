"""Serve a page on which stories are written, generated shot by shot, mended and taken home.

Needs `animeshooter-hf[web]`. The page asks nothing of other machines; --share yes opens a public tunnel through
gradio's servers, and says so. --space-files writes what a Space on the Hub needs, and serves nothing.

Example:
    animeshooter web --model tiny
    animeshooter web --model path/or/repository --device cuda --port 7860
    animeshooter web --model ORG/NAME --space-files space/
"""

import argparse
import sys
from pathlib import Path

from animeshooter_hf.errors import InputError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter web`."""
    parser.add_argument(
        "--model", required=True, metavar="M",
        help="checkpoint folder, repository on the Hub, `toon` (small, trained, comes along), or `tiny` (toy, random)",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda (default %(default)s)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights (default: the checkpoint's)"
    )
    parser.add_argument(
        "--offload", choices=("none", "model", "sequential", "group"), default="none",
        help="keep on the device only what is at work (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--sound", metavar="S", help="model of the film's sound, or `silence` (default: no sound)")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="0.0.0.0 lets others in (default %(default)s)")
    parser.add_argument("--port", type=int, metavar="P", help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--share", choices=("yes", "no"), default="no", help="a public address through gradio (default %(default)s)"
    )
    parser.add_argument("--title", default="AnimeShooter", help="heading of the page (default %(default)s)")
    parser.add_argument("--space-files", type=Path, metavar="DIR", help="write app.py and so on for a Space there")


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is stopped, or write the files of a Space; return 0."""
    if arguments.port is not None and not 1 <= arguments.port <= 65535:
        raise InputError(f"--port must lie in 1 to 65535, got {arguments.port}.")
    if arguments.space_files is not None:
        from animeshooter_hf.modeling.web.space import write_space

        for path in write_space(arguments.space_files, model=arguments.model, title=arguments.title):
            sys.stdout.write(f"{path}\n")
        return 0
    from animeshooter_hf.modeling.web.offline_gradio import check_gradio

    check_gradio()  # before a model is loaded for minutes
    from animeshooter_hf.modeling.open_pipeline import open_pipeline, place_pipeline
    from animeshooter_hf.modeling.sound.open_scorer import open_scorer
    from animeshooter_hf.modeling.web.web_app import WebSettings, launch_page

    pipeline = open_pipeline(arguments.model, arguments.dtype)
    pipeline.set_progress_bar_config(disable=True)
    place_pipeline(pipeline, arguments.device, arguments.offload)
    scorer = None if arguments.sound is None else open_scorer(arguments.sound, device=arguments.device)
    settings = WebSettings(
        host=arguments.host,
        port=arguments.port,
        share=arguments.share == "yes",
        title=arguments.title,
        model=arguments.model,
    )
    page, address = launch_page(pipeline, settings, audio_scorer=scorer, block=False)
    sys.stderr.write(f"The page is at {page.share_url or address}; Ctrl-C stops it.\n")
    page.block_thread()
    return 0
