"""The look of the page: the palette of the dataset site, the system's fonts, nothing from elsewhere."""

from pathlib import Path
from typing import Any

__all__ = ["make_theme", "read_style"]

_LIGHT = {"paper": "#faf9f6", "card": "#ffffff", "ink": "#1f2126", "soft": "#5d626c", "line": "#e4e1da",
          "sunk": "#f1efe9", "accent": "#2f4f8f", "accent_ink": "#ffffff", "accent_hover": "#25406f"}  # fmt: skip
_DARK = {"paper": "#15171b", "card": "#1d2026", "ink": "#e8e6e1", "soft": "#a2a7b1", "line": "#2f333b",
         "sunk": "#23272e", "accent": "#9db8f0", "accent_ink": "#11151f", "accent_hover": "#b6caf5"}  # fmt: skip

_COLOURS = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "paper",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "color_accent_soft": "sunk",
    "link_text_color": "accent",
    "link_text_color_hover": "accent_hover",
    "link_text_color_visited": "accent",
    "link_text_color_active": "accent",
    "block_background_fill": "card",
    "block_border_color": "line",
    "block_label_background_fill": "card",
    "block_label_border_color": "line",
    "block_label_text_color": "soft",
    "block_title_text_color": "soft",
    "block_info_text_color": "soft",
    "panel_background_fill": "card",
    "panel_border_color": "line",
    "accordion_text_color": "ink",
    "input_background_fill": "card",
    "input_border_color": "line",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "soft",
    "checkbox_background_color": "card",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "line",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "card",
    "checkbox_label_background_fill_hover": "sunk",
    "checkbox_label_background_fill_selected": "sunk",
    "checkbox_label_border_color": "line",
    "checkbox_label_border_color_selected": "accent",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent_hover",
    "button_primary_border_color": "accent",
    "button_primary_text_color": "accent_ink",
    "button_secondary_background_fill": "card",
    "button_secondary_background_fill_hover": "sunk",
    "button_secondary_border_color": "line",
    "button_secondary_text_color": "ink",
    "button_cancel_background_fill": "card",
    "button_cancel_background_fill_hover": "sunk",
    "button_cancel_border_color": "line",
    "button_cancel_text_color": "ink",
    "loader_color": "accent",
    "slider_color": "accent",
}
"""Variable of gradio's theme -> our colour. Those of the dark look carry the ending "_dark"."""


def make_theme() -> Any:
    """Return gradio's plainest theme in our colours; its fonts are the system's, so none is fetched."""
    import gradio as gr

    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
    mono = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")
    theme = gr.themes.Base(font=fonts, font_mono=mono, text_size="lg", radius_size="lg", neutral_hue="stone")
    light = {name: _LIGHT[colour] for name, colour in _COLOURS.items()}
    dark = {f"{name}_dark": _DARK[colour] for name, colour in _COLOURS.items()}
    return theme.set(
        **light,
        **dark,
        color_accent=_LIGHT["accent"],
        block_border_width="1px",
        button_border_width="1px",
        input_border_width="1px",
        block_shadow="none",
        block_shadow_dark="none",
        button_primary_shadow="none",
        button_large_text_weight="600",
        input_shadow="none",
        input_shadow_focus="none",
    )


def read_style() -> str:
    """Return the style sheet of our own parts."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
