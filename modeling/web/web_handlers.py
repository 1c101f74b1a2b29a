"""What the page does when a button is pressed. A handler takes gradio's values by component and gives changes back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.web import page_parts as parts
from animeshooter_hf.modeling.web.background import in_background
from animeshooter_hf.modeling.web.story_form import (
    FIELDS,
    MAX_CHARACTERS,
    CastMember,
    FormError,
    StoryForm,
    begin_story,
    read_seed,
    read_story,
)
from animeshooter_hf.modeling.web.story_session import Clip, StorySession, Studio
from animeshooter_hf.modeling.web.web_widgets import Widgets

__all__ = ["Handlers"]

Changes = dict[Any, Any]
"""Component -> its new value, or an update of it."""

_LARGEST_STORY_FILE = 8 << 20
_NOT_YET = "The story cannot be begun yet: something in the form is wrong."


class Handlers:
    """The answers to a visitor's actions; the visitor's story comes and goes with each call."""

    def __init__(self, studio: Studio, widgets: Widgets) -> None:
        """Keep the studio, and the components to be read and changed."""
        import gradio as gr

        self._studio, self._w, self._gr = studio, widgets, gr

    # ------------------------------------------------------------------------------------------------ making

    def generate(self, values: Changes) -> Iterator[Changes]:
        """Check the form; then make the story, shot by shot."""
        yield self._errors({})
        try:
            state = begin_story(self._studio.pipeline, self._form(values))
        except FormError as error:
            yield {
                **self._errors(error.fields),
                self._w.status: parts.status_html("The story cannot be begun yet.", wrong=True),
            }
            return
        session = values[self._w.session] or self._studio.open_session()
        hidden = self._gr.HTML("", visible=False)
        first = {self._w.session: session, self._w.empty: self._gr.HTML(visible=True),
                 self._w.mend: self._gr.Group(visible=False), **dict.fromkeys(self._w.shots, hidden)}  # fmt: skip
        yield from self._follow(session, lambda: session.generate(state), range(len(state.story.shots)), first)

    def go_on(self, values: Changes) -> Iterator[Changes]:
        """Make the shots that the story still lacks."""
        session = values[self._w.session]
        if session is None or session.state is None:
            return
        state = session.state
        lacking = range(len(state.shots), len(state.story.shots))
        yield from self._follow(session, lambda: session.generate(state), lacking, {})

    def remake(self, values: Changes) -> Iterator[Changes]:
        """Make one shot anew, and those after it if the visitor wants that."""
        session, index = values[self._w.session], values[self._w.mend_index]
        try:
            if session is None or session.state is None or index is None:
                raise InputError("Choose the shot first.")
            words = values[self._w.mend_seed].strip()
            keep = not values[self._w.mend_following]
            shots = session.regenerate(
                int(index),
                caption=values[self._w.mend_caption],
                seed=read_seed(words) if words else None,
                keep_following=keep,
            )
        except InputError as error:
            yield {self._w.mend_error: self._gr.HTML(parts.error_html(str(error)), visible=True)}
            return
        last = int(index) + 1 if keep else len(session.state.shots)
        first = {self._w.mend_error: self._gr.HTML("", visible=False)}
        yield from self._follow(session, lambda: shots, range(int(index), last), first)

    def stop(self, values: Changes) -> Changes:
        """Let the run end after the shot that is being made."""
        if values[self._w.session] is not None:
            values[self._w.session].stop()
        return {
            self._w.status: parts.status_html("Stopping as soon as this shot is done."),
            self._w.stop: self._gr.Button(interactive=False),
        }

    def rest(self, values: Changes) -> Changes:
        """Put the buttons back, whatever the run came to, and show all shots that are done.

        A browser that is busy may drop a change of a stream when the next one comes; here it gets the whole once more.
        """
        session = values[self._w.session]
        state = None if session is None else session.state
        shown = {} if session is None else self._shown(session.clips())
        return {
            **shown,
            self._w.generate: self._gr.Button(interactive=True),
            self._w.stop: self._gr.Button(visible=False),
            self._w.remake: self._gr.Button(interactive=True),
            **self._offers(state),
        }

    def _follow(
        self, session: StorySession, begin: Callable[[], Iterator[Clip]], indices: range, first: Changes
    ) -> Iterator[Changes]:
        """Show each shot when it is there, and the files at the end."""
        session.begin_run()
        done, total, started = 0, len(indices), monotonic()
        busy = {
            self._w.generate: self._gr.Button(interactive=False),
            self._w.remake: self._gr.Button(interactive=False),
            self._w.go_on: self._gr.Button(visible=False),
            self._w.stop: self._gr.Button(visible=total > 1, interactive=True),
            self._w.film: self._gr.DownloadButton(interactive=False),
            self._w.project: self._gr.DownloadButton(interactive=False),
        }
        yield {**first, **busy, self._w.status: _bar(indices, 0, started)}
        wrong = ""
        try:
            for thing in in_background(lambda tell: _told(session, begin, tell)):
                if isinstance(thing, Clip):
                    done += 1
                    changes = {**self._shown([thing]), self._w.empty: self._gr.HTML(visible=False)}
                    yield changes if done == total else {**changes, self._w.status: _bar(indices, done, started)}
                else:
                    yield {self._w.status: _bar(indices, done + thing, started)}
        except (InputError, RuntimeError, MemoryError) as error:
            # What is done stays; the visitor can take it home, or go on.
            wrong = f"Shot {indices[min(done, total - 1)] + 1} could not be made: {_first_line(error)}"
        except GeneratorExit:
            # The visitor is gone. The thread ends after its shot.
            session.stop()
            raise
        files, trouble = self._files(session)
        yield {**files, self._w.status: self._outcome(session, wrong or trouble)}

    def _outcome(self, session: StorySession, wrong: str) -> str:
        state = session.state
        if wrong or state is None:
            return parts.status_html(wrong, wrong=True)
        made, all_shots = len(state.shots), len(state.story.shots)
        if made < all_shots:
            return parts.status_html(f"Stopped: {made} of {all_shots} shots are done.")
        return parts.status_html(f"Done: {made} {'shot' if made == 1 else 'shots'}.")

    # ------------------------------------------------------------------------------------------------ showing

    def _shown(self, clips: list[Clip]) -> Changes:
        return {self._w.shots[clip.index]: self._gr.HTML(parts.shot_html(clip), visible=True) for clip in clips}

    def _errors(self, sentences: dict[str, str]) -> Changes:
        return {
            self._w.errors[name]: self._gr.HTML(parts.error_html(sentences.get(name, "")), visible=name in sentences)
            for name in FIELDS
        }

    def _files(self, session: StorySession) -> tuple[Changes, str]:
        """Return the download buttons with their files, and what went wrong."""
        film, project, wrong = None, session.write_project(), ""
        try:
            film = session.write_film()
        except (InputError, RuntimeError, MemoryError) as error:
            wrong = f"The film could not be put together: {_first_line(error)}"
        button = self._gr.DownloadButton
        return {
            self._w.film: button(value=None if film is None else str(film), interactive=film is not None),
            self._w.project: button(value=None if project is None else str(project), interactive=project is not None),
        }, wrong

    def _offers(self, state: StoryState | None) -> Changes:
        """Return what can be done with the story next: mend a shot, go on."""
        made = 0 if state is None else len(state.shots)
        left = 0 if state is None else len(state.story.shots) - made
        changes: Changes = {
            self._w.go_on: self._gr.Button(f"Continue the story ({left} to go)", visible=left > 0),
            self._w.mend: self._gr.Group(visible=made > 0),
        }
        if made:
            choices = [(str(index + 1), index) for index in range(made)]
            changes[self._w.mend_index] = self._gr.Radio(choices=choices, value=None)
            changes[self._w.mend_caption] = changes[self._w.mend_seed] = ""
        return changes

    # ------------------------------------------------------------------------------------------------ filling in

    def choose_shot(self, values: Changes) -> Changes:
        """Show the caption of the shot that is to be made anew."""
        session, index = values[self._w.session], values[self._w.mend_index]
        if session is None or session.state is None or index is None:
            return self._nothing()
        return {self._w.mend_caption: session.state.story.shots[int(index)].caption, self._w.mend_seed: ""}

    def load_story(self, values: Changes) -> Changes:
        """Show a story file in the editor, and its cast in the rows."""
        path = Path(values[self._w.load_story])
        place = self._w.errors["story"]
        try:
            if path.stat().st_size > _LARGEST_STORY_FILE:
                raise InputError("The story file is larger than 8 MB.")
            text = path.read_text(encoding="utf-8-sig")
            read_story(text, [])
        except UnicodeDecodeError:
            return {place: self._gr.HTML(parts.error_html("The story file is no text in UTF-8."), visible=True)}
        except ValueError as error:
            return {place: self._gr.HTML(parts.error_html(str(error)), visible=True)}
        cast = self._cast(text, values)
        return {self._w.story: text, place: self._gr.HTML("", visible=False), **cast}

    def name_cast(self, values: Changes) -> Changes:
        """Give each character of a JSON story a row."""
        return self._cast(values[self._w.story], values) or self._nothing()

    def _cast(self, text: str, values: Changes) -> Changes:
        if not text.lstrip().startswith("{"):
            return {}
        try:
            declared = [character.id for character in read_story(text, []).characters]
        except ValueError:
            return {}
        given = [values[name].strip() for name in self._w.names]
        free = [row for row, name in enumerate(given) if not name]
        missing = [name for name in declared if name not in given]
        return {
            component: update
            for row, name in zip(free, missing, strict=False)
            for component, update in ((self._w.names[row], name), (self._w.rows[row], self._gr.Group(visible=True)))
        }

    def add_row(self, values: Changes) -> Changes:
        """Show one more row for a character: the first that is hidden, which is empty as well."""
        filled = [row for row in range(MAX_CHARACTERS) if values[self._w.names[row]] or values[self._w.images[row]]]
        last = min(max(filled, default=0) + 1, MAX_CHARACTERS - 1)
        return {self._w.rows[row]: self._gr.Group(visible=True) for row in range(last + 1)}

    def open_project(self, values: Changes) -> Changes:
        """Take up the story of a project file: its shots, and the form as it was filled in."""
        session = values[self._w.session] or self._studio.open_session()
        try:
            state = session.open_project(Path(values[self._w.open_project]))
        except InputError as error:
            return {self._w.session: session, self._w.status: parts.status_html(str(error), wrong=True)}
        hidden = self._gr.HTML("", visible=False)
        return {
            self._w.session: session,
            **self._errors({}),
            **dict.fromkeys(self._w.shots, hidden),
            **self._shown(session.clips()),
            **self._files(session)[0],
            **self._filled_form(session, state),
            self._w.empty: self._gr.HTML(visible=not state.shots),
            self._w.status: parts.status_html(
                f"Opened {state.story.story_id}: {len(state.shots)} of {len(state.story.shots)} shots are done."
            ),
        }

    def _filled_form(self, session: StorySession, state: StoryState) -> Changes:
        changes: Changes = {
            self._w.story: json.dumps(state.story.to_json(), ensure_ascii=False, indent=1),
            self._w.seed: str(state.seed),
            **{widget: getattr(state.settings, name) for name, widget in self._w.numbers.items()},
        }
        files = session.reference_files()
        names = [character.id for character in state.story.characters][:MAX_CHARACTERS]
        for row in range(MAX_CHARACTERS):
            name = names[row] if row < len(names) else ""
            changes[self._w.names[row]] = name
            changes[self._w.images[row]] = files.get(name)
            changes[self._w.rows[row]] = self._gr.Group(visible=bool(name) or row == 0)
        return changes

    def _nothing(self) -> Changes:
        """Return the change that changes nothing; an empty dict would not do."""
        return dict(self._gr.skip())

    def _form(self, values: Changes) -> StoryForm:
        cast = tuple(
            CastMember(values[name] or "", tuple(path for path, _ in values[images] or ()))
            for name, images in zip(self._w.names, self._w.images, strict=True)
        )
        return StoryForm(
            text=values[self._w.story] or "",
            cast=cast,
            allow_missing_references=bool(values[self._w.allow_missing]),
            seed=values[self._w.seed] or "",
            **{name: values[widget] for name, widget in self._w.numbers.items()},
        )


def _told(session: StorySession, begin: Callable[[], Iterator[Clip]], tell: Callable[[float], None]) -> Iterator[Clip]:
    """Yield the clips, and tell after every denoising step which part of a shot is done."""
    session.on_step = lambda step, total: tell(min(step / total, 0.99))
    yield from begin()


def _bar(indices: range, done: float, started: float) -> str:
    """Return how far it is: so many shots of `indices`, a part of one among them."""
    whole = min(int(done), len(indices) - 1)
    words = f"Making shot {indices[whole] + 1} of {indices[-1] + 1}."
    if done >= 1:
        words += f" About {_duration((monotonic() - started) / done * (len(indices) - done))} left."
    return parts.bar_html(words, done, len(indices))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
