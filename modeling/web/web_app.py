"""The page: write or load a story, drop references, watch shots arrive, mend one, take the film and the project home.

One process holds one pipeline; gradio's queue lets one generation run at a time and tells the others where they stand.
Nothing is asked of any other machine: no analytics, no fonts, no scripts from elsewhere.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.web.offline_gradio import check_gradio
from animeshooter_hf.modeling.web.story_session import Studio
from animeshooter_hf.modeling.web.web_handlers import Handlers
from animeshooter_hf.modeling.web.web_look import make_theme, read_style
from animeshooter_hf.modeling.web.web_widgets import KEEP_SECONDS, Widgets, lay_out

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

__all__ = ["WebSettings", "build_page", "launch_page"]

_TURN = "pipeline"
"""Events of this name wait for each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSettings:
    """How the page is served."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets others in."""

    port: int | None = None
    """Port, or None for a free one from 7860."""

    share: bool = False
    """Open a public tunnel through gradio's servers."""

    title: str = "AnimeShooter"
    """Heading of the page."""

    model: str = "a model"
    """Name of the model, as visitors should read it."""

    largest_upload: str = "1gb"
    """Of one file."""


def launch_page(
    pipeline: "AnimeShooterGenPipeline",
    settings: WebSettings | None = None,
    *,
    audio_scorer: Any = None,
    block: bool = True,
) -> tuple[Any, str]:
    """Serve the page and return its gradio app and address; with `block`, only after it was stopped.

    Args:
        pipeline: What makes the shots.
        settings: Address, title, limits.
        audio_scorer: What makes the film's sound; see `open_scorer`.
        block: Wait until it is stopped.

    Raises:
        MissingExtraError: If gradio is not installed.
        InputError: If the port is taken.
    """
    settings = settings or WebSettings()
    check_gradio()
    folder = tempfile.TemporaryDirectory(prefix="animeshooter-web-")
    studio = Studio(pipeline, Path(folder.name), audio_scorer)
    page = build_page(studio, settings)
    try:
        _, address, _ = page.queue(default_concurrency_limit=4).launch(
            server_name=settings.host, server_port=settings.port, share=settings.share, prevent_thread_lock=True,
            quiet=True, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False, footer_links=[],
            allowed_paths=[str(Path(folder.name).resolve())], max_file_size=settings.largest_upload,
            theme=make_theme(), css=read_style(),
        )  # fmt: skip
    except OSError as error:
        folder.cleanup()
        raise InputError(f"The page cannot be served at {settings.host}:{settings.port}: {error}") from error
    page.studio = studio
    page.studio_folder = folder  # it goes when the page goes
    if block:
        try:
            page.block_thread()
        finally:
            page.close()
            folder.cleanup()
    return page, address


def build_page(studio: Studio, settings: WebSettings | None = None) -> Any:
    """Return the page as gradio's `Blocks`, not yet served.

    Args:
        studio: The pipeline, and the folder for what visitors make; the folder must be in `allowed_paths`.
        settings: Title and model's name are read from it.
    """
    import gradio as gr

    settings = settings or WebSettings()
    with gr.Blocks(
        title=settings.title, analytics_enabled=False, fill_width=True, delete_cache=(3600, KEEP_SECONDS)
    ) as page:
        widgets = lay_out(studio, settings.title, settings.model)
        _connect(Handlers(studio, widgets), widgets)
    return page


def _connect(handlers: Handlers, widgets: Widgets) -> None:
    """Say which handler answers which button; those that need the pipeline wait for each other."""
    form = {widgets.story, *widgets.names, *widgets.images, widgets.allow_missing, widgets.seed}
    form |= set(widgets.numbers.values())
    mend = {widgets.mend_index, widgets.mend_caption, widgets.mend_seed, widgets.mend_following}
    results = [
        widgets.session, widgets.status, widgets.empty, widgets.go_on, widgets.stop, widgets.generate, widgets.remake,
        widgets.mend, widgets.mend_index, widgets.mend_caption, widgets.mend_seed, widgets.mend_error, widgets.film,
        widgets.project, *widgets.errors.values(), *widgets.shots,
    ]  # fmt: skip
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    turn = {**quiet, "show_progress": "minimal", "show_progress_on": widgets.status, "concurrency_id": _TURN,
            "concurrency_limit": 1}  # fmt: skip
    cast = [*widgets.names, *widgets.images, *widgets.rows]

    for button, answer, inputs in (
        (widgets.generate, handlers.generate, {widgets.session, *form}),
        (widgets.go_on, handlers.go_on, {widgets.session}),
        (widgets.remake, handlers.remake, {widgets.session, *mend}),
    ):
        event = button.click(answer, inputs, results, **turn)
        event.then(handlers.rest, {widgets.session}, results, **quiet)
    widgets.stop.click(handlers.stop, {widgets.session}, [widgets.status, widgets.stop], queue=False, **quiet)
    widgets.open_project.upload(
        handlers.open_project, {widgets.session, widgets.open_project},
        [*results, *cast, widgets.story, widgets.seed, *widgets.numbers.values()], **quiet,
    ).then(handlers.rest, {widgets.session}, results, **quiet)  # fmt: skip
    widgets.load_story.upload(
        handlers.load_story, {widgets.load_story, *widgets.names}, [widgets.story, widgets.errors["story"], *cast],
        **quiet,
    )  # fmt: skip
    widgets.story.blur(handlers.name_cast, {widgets.story, *widgets.names}, cast, **quiet)
    widgets.add_row.click(handlers.add_row, {*widgets.names, *widgets.images}, widgets.rows, **quiet)
    widgets.mend_index.input(
        handlers.choose_shot, {widgets.session, widgets.mend_index}, [widgets.mend_caption, widgets.mend_seed], **quiet
    )
