"""Pieces of HTML that the page shows. Whatever a visitor wrote is escaped here."""

from html import escape
from urllib.parse import quote

from animeshooter_hf.modeling.web.story_session import Clip

__all__ = ["bar_html", "empty_html", "error_html", "header_html", "shot_html", "status_html"]


def header_html(title: str, notes: tuple[str, ...], model: str) -> str:
    """Return the top of the page; what a viewer has to know stands there for good."""
    warnings = "".join(f'<p class="ash-note" role="note">{escape(note)}</p>' for note in notes)
    return (
        f'<header class="ash-head"><h1>{escape(title)}</h1>'
        f'<p class="ash-soft">Stories in several shots: the references tell who, the captions tell what. '
        f'Model: <span class="ash-id">{escape(model)}</span>. What comes out is AI-generated and says so in its file.'
        f"</p>{warnings}</header>"
    )


def error_html(sentence: str) -> str:
    """Return one sentence beside a field, or nothing."""
    return f'<p class="ash-error" role="alert">{escape(sentence)}</p>' if sentence else ""


def status_html(sentence: str, *, wrong: bool = False) -> str:
    """Return one line on what happens; screen readers say it."""
    kind = "ash-status ash-wrong" if wrong else "ash-status"
    return f'<p class="{kind}" role="status">{escape(sentence)}</p>' if sentence else ""


def bar_html(sentence: str, done: float, total: int) -> str:
    """Return a line with a bar."""
    bar = f'<progress max="{total}" value="{done:.4g}" aria-label="shots done"></progress>'
    return f'<div class="ash-status ash-busy" role="status"><p>{escape(sentence)}</p>{bar}</div>'


def empty_html() -> str:
    """Return what stands where the shots will be."""
    return '<p class="ash-empty">The shots appear here, one by one, as soon as each is ready.</p>'


def shot_html(clip: Clip) -> str:
    """Return one shot: a film to play, its caption, its seed."""
    return (
        f'<figure class="ash-shot" data-shot="{clip.index}">'
        f'<video src="gradio_api/file={quote(str(clip.path))}#t=0.001" controls loop muted playsinline preload="auto" '
        f'aria-label="Shot {clip.index + 1}"></video>'
        f'<figcaption><span class="ash-number">{clip.index + 1}</span><span class="ash-caption">{escape(clip.caption)}'
        f'</span><span class="ash-soft ash-facts">{clip.seconds:.3g} s &middot; seed '
        f'<span class="ash-id">{clip.seed}</span></span></figcaption></figure>'
    )
