"""The components of the page and where they stand: the form at the left, what comes out at the right."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from animeshooter_hf.modeling.web import page_parts as parts
from animeshooter_hf.modeling.web.story_form import MAX_CHARACTERS
from animeshooter_hf.modeling.web.story_session import StorySession, Studio

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

__all__ = ["KEEP_SECONDS", "Widgets", "lay_out"]

KEEP_SECONDS = 24 * 3600
"""How long what a visitor made is kept after the last visit. Our choice."""


@dataclass(slots=True)
class Widgets:
    """What the handlers read and write; each is a gradio component."""

    session: Any = None
    story: Any = None
    load_story: Any = None
    names: list[Any] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    add_row: Any = None
    allow_missing: Any = None
    seed: Any = None
    numbers: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)
    generate: Any = None
    stop: Any = None
    go_on: Any = None
    open_project: Any = None
    status: Any = None
    empty: Any = None
    shots: list[Any] = field(default_factory=list)
    mend: Any = None
    mend_index: Any = None
    mend_caption: Any = None
    mend_seed: Any = None
    mend_following: Any = None
    mend_error: Any = None
    remake: Any = None
    film: Any = None
    project: Any = None


def lay_out(studio: Studio, title: str, model: str) -> Widgets:
    """Return the components, placed; on a phone the results stand below the form."""
    import gradio as gr

    pipeline, widgets = studio.pipeline, Widgets()
    widgets.session = gr.State(None, time_to_live=KEEP_SECONDS, delete_callback=_close_session)
    gr.HTML(parts.header_html(title, tuple(pipeline.notes), model))
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            _lay_out_story(widgets)
            _lay_out_cast(widgets)
            _lay_out_settings(widgets, pipeline)
            with gr.Row():
                widgets.generate = gr.Button("Generate", variant="primary", elem_id="generate")
                widgets.stop = gr.Button("Stop after this shot", visible=False, elem_id="stop")
            widgets.open_project = gr.UploadButton(
                "Open a project (.zip)", file_types=[".zip"], size="md", elem_id="open-project"
            )
        with gr.Column(scale=7, min_width=320):
            _lay_out_results(widgets, pipeline.config.max_shots)
    return widgets


def _error_place(widgets: Widgets, name: str) -> None:
    import gradio as gr

    widgets.errors[name] = gr.HTML(visible=False, elem_id=f"error-{name}")


def _lay_out_story(widgets: Widgets) -> None:
    import gradio as gr

    gr.HTML('<h2 class="ash-part">Story</h2>')
    widgets.story = gr.Textbox(
        label="One line for each shot, or a story as JSON",
        placeholder="Mia wakes up in the garden.\nMia finds a red balloon.",
        lines=6,
        max_lines=16,
        elem_id="story",
    )
    _error_place(widgets, "story")
    widgets.load_story = gr.UploadButton(
        "Load a story (.json, .txt)", file_types=[".json", ".txt"], size="md", elem_id="load-story"
    )


def _lay_out_cast(widgets: Widgets) -> None:
    import gradio as gr

    gr.HTML('<h2 class="ash-part">Characters</h2>')
    for number in range(MAX_CHARACTERS):
        with gr.Group(visible=number == 0, elem_id=f"character-{number}") as row:
            widgets.names.append(gr.Textbox(label="Name, as in the story", max_lines=1, elem_id=f"name-{number}"))
            widgets.images.append(
                gr.Gallery(
                    label="Reference images",
                    interactive=True,
                    file_types=["image"],
                    sources=["upload", "clipboard"],
                    columns=3,
                    height=170,
                    object_fit="contain",
                    format="png",
                    buttons=[],
                    elem_id=f"images-{number}",
                    elem_classes="ash-images",
                )
            )
            _error_place(widgets, f"character_{number}")
        widgets.rows.append(row)
    _error_place(widgets, "characters")
    widgets.add_row = gr.Button("Add a character", size="md", elem_id="add-character")
    widgets.allow_missing = gr.Checkbox(
        label="Draw characters without a reference from words alone", container=False, elem_id="allow-missing"
    )


def _lay_out_settings(widgets: Widgets, pipeline: "AnimeShooterGenPipeline") -> None:
    """Place seed, sizes and steps; what stands there first is the model's own."""
    import gradio as gr

    _, usual = pipeline.check_inputs(["A shot."], None, require_references=False)
    with gr.Accordion("Seed, length, size and steps", open=False, elem_id="settings"):
        widgets.seed = gr.Textbox("0", label="Seed: the same one gives the same film", max_lines=1, elem_id="seed")
        _error_place(widgets, "seed")
        with gr.Row():
            for name, label in (("num_frames", "Frames per shot"), ("width", "Width"), ("height", "Height")):
                widgets.numbers[name] = gr.Number(
                    getattr(usual, name), label=label, min_width=90, elem_id=name.replace("_", "-")
                )
        _error_place(widgets, "num_frames")
        _error_place(widgets, "size")
        with gr.Row():
            widgets.numbers["num_inference_steps"] = gr.Number(
                usual.num_inference_steps, label="Denoising steps", min_width=90, elem_id="steps"
            )
            widgets.numbers["guidance_scale"] = gr.Number(
                usual.guidance_scale, label="Guidance", min_width=90, step=0.5, elem_id="guidance"
            )
        _error_place(widgets, "num_inference_steps")
        _error_place(widgets, "guidance_scale")


def _lay_out_results(widgets: Widgets, max_shots: int) -> None:
    import gradio as gr

    gr.HTML('<h2 class="ash-part">Shots</h2>')
    widgets.status = gr.HTML(elem_id="status")
    widgets.go_on = gr.Button("Continue the story", visible=False, variant="primary", elem_id="continue")
    widgets.empty = gr.HTML(parts.empty_html())
    with gr.Row(elem_classes="ash-shots", elem_id="shots"):
        widgets.shots = [gr.HTML(visible=False) for _ in range(max_shots)]
    with gr.Group(visible=False, elem_id="mend") as widgets.mend:
        widgets.mend_index = gr.Radio([], label="Make a shot anew", elem_id="mend-index")
        widgets.mend_caption = gr.Textbox(label="Its caption", lines=2, elem_id="mend-caption")
        widgets.mend_seed = gr.Textbox(
            label="Its seed", placeholder="empty: a new one is drawn", max_lines=1, elem_id="mend-seed"
        )
        widgets.mend_following = gr.Checkbox(
            label="Make the shots after it anew as well, so that they follow from it", elem_id="mend-following"
        )
        widgets.mend_error = gr.HTML(visible=False, elem_id="mend-error")
        widgets.remake = gr.Button("Make this shot anew", elem_id="remake")
    with gr.Row():
        widgets.film = gr.DownloadButton("Film (.mp4)", interactive=False, elem_id="film")
        widgets.project = gr.DownloadButton("Project (.zip)", interactive=False, elem_id="project")


def _close_session(session: StorySession | None) -> None:
    if session is not None:
        session.close()
