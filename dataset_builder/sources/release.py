"""A release as a source: its annotations say which videos, a folder or the downloader brings them.

What the release tells of a film goes along as `FilmFile.annotation`, so that a build takes its stories, masks and
sounds from there instead of asking a model. Stories of videos that are not here are counted with the refused film;
`animeshooter ingest` takes annotations without videos.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from animeshooter_hf.dataset_builder.release.files import iter_release_files
from animeshooter_hf.dataset_builder.release.film_annotation import AnnotationWriter
from animeshooter_hf.dataset_builder.release.names import unescape_video_id
from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, ProblemLog, severity_of
from animeshooter_hf.dataset_builder.release.reader import ReleaseDocument, ToldVideo, read_release_documents
from animeshooter_hf.dataset_builder.sources.download import Downloader, DownloadSettings
from animeshooter_hf.dataset_builder.sources.folder import (
    FILM_SUFFIXES,
    FilmFile,
    FoundFilms,
    RefusedFilm,
    is_safe_id,
)
from animeshooter_hf.dataset_builder.sources.video_ids import VideoAddress, address_of
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList

__all__ = ["ReleaseSource"]


@dataclass(slots=True)
class _Told:
    """What is known of the release while it is read; some words per video."""

    writer: AnnotationWriter
    """Writes down what it tells of the films that are used."""

    log: ProblemLog = field(default_factory=ProblemLog)
    """What was wrong with it."""

    urls: dict[str, str | None] = field(default_factory=dict)
    """Video -> address, in the order of the release."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Video -> why it cannot be used."""

    num_stories: Counter[str] = field(default_factory=Counter)
    """Video -> stories of the picture release; for a film that only the audio release tells of, of that."""

    files: dict[str, str] = field(default_factory=dict)
    """Annotation file -> its first video."""

    audio_only: set[str] = field(default_factory=set)
    """Videos that only the audio release tells of."""


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """The videos that a release annotates."""

    path: Path
    """The release: a JSON file, a folder of them, or the zip."""

    videos: Path | None = None
    """Folder that holds them, named by their IDs or by `escape_video_id` of them; None if there is none."""

    download: DownloadSettings | None = None
    """How those that are not in the folder are downloaded; None if they are not."""

    audio: Path | None = None
    """The audio release, in the same forms as the release; None if there is none."""

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Return the films; see `Source`."""
        here = _files_by_id(self.videos)
        told = _Told(AnnotationWriter(into / "annotations"))
        for document, video, is_audio in self._read(told.log):
            self._take(document, video, here, takedown, told, is_audio=is_audio)
        if not told.urls:
            raise InputError(f"{self.path} annotates no video.")
        refused = [self._refused(name, f"The video {name[:80]} {why}.", told) for name, why in told.reasons.items()]
        refused += self._note_problems(told)
        films: list[FilmFile] = []
        missing: list[VideoAddress] = []
        for video_id, url in told.urls.items():
            if video_id in told.reasons:
                continue
            if video_id in here:
                films.append(FilmFile(video_id=video_id, path=here[video_id], url=url))
                continue
            try:
                missing.append(address_of(f"{video_id} {url}" if url and "://" in url else video_id))
            except InputError as error:
                refused.append(self._refused(video_id, str(error), told))
        if missing and self.download is not None:
            found = Downloader(into / "downloads", self.download).download(
                missing, takedown=takedown, progress=progress
            )
            films += found.films
            refused += [
                one if one.video_id is None else replace(one, num_stories=told.num_stories[one.video_id])
                for one in found.refused
            ]
        used = sorted(films, key=lambda film: film.video_id)
        for name in {*told.urls} - {*told.reasons} - {film.video_id for film in used}:
            told.writer.drop(name)
        return FoundFilms(
            films=tuple(replace(film, annotation=told.writer.finish(film.video_id)) for film in used),
            refused=tuple(refused),
        )

    def _read(self, log: ProblemLog) -> Iterator[tuple[ReleaseDocument, ToldVideo, bool]]:
        for is_audio, path in ((False, self.path), (True, self.audio)):
            if path is not None:
                for document in read_release_documents(iter_release_files(path, log), log, is_audio=is_audio):
                    for video in document.videos:
                        yield document, video, is_audio

    def _take(
        self,
        document: ReleaseDocument,
        video: ToldVideo,
        here: dict[str, Path],
        takedown: TakedownList,
        told: _Told,
        *,
        is_audio: bool,
    ) -> None:
        """Note one video of a file, and write down what is told of it if there can be a film."""
        stories = [story for story in video.stories if story is not None]
        video_id = stories[0].video_id
        told.files.setdefault(document.file, video_id)
        if video_id not in told.urls:
            told.urls[video_id] = stories[0].url
            if is_audio:
                told.audio_only.add(video_id)
            if takedown.hits(video_id):
                told.reasons[video_id] = "is on the takedown list"
            elif not is_safe_id(video_id):
                told.reasons[video_id] = "cannot name a file"
            elif video_id not in here and self.download is None:
                told.reasons[video_id] = "has no file here, and downloading was not asked for"
        if not is_audio or video_id in told.audio_only:
            told.num_stories[video_id] += len(video.stories)
        if video_id not in told.reasons:
            told.writer.add(document, video, is_audio=is_audio)

    def _note_problems(self, told: _Told) -> list[RefusedFilm]:
        """Write down with each film what was wrong with its files; return the files that tell of no film at all."""
        by_video: dict[str, Counter[str]] = {}
        lost: dict[str, str] = {}
        for one in told.log.entries():
            video_id = told.files.get(one.where)
            if one.story_id is not None:
                video_id = one.story_id.rsplit("_", 1)[0]
            if video_id is not None and video_id in told.urls:
                by_video.setdefault(video_id, Counter())[one.code] += one.count
            elif severity_of(one.code) == "lost":
                detail = f" ({one.detail})" if one.detail else ""
                lost.setdefault(one.where, f"{one.where} is left out: {PROBLEMS[one.code]}{detail}.")
        for video_id, problems in by_video.items():
            if video_id not in told.reasons:
                told.writer.add_problems(video_id, problems)
        return [RefusedFilm(path=self.path, reason=reason) for reason in lost.values()]

    def _refused(self, video_id: str, reason: str, told: _Told) -> RefusedFilm:
        return RefusedFilm(path=self.path, reason=reason, video_id=video_id, num_stories=told.num_stories[video_id])


def _files_by_id(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} for the videos.")
    files = [one for one in sorted(folder.iterdir()) if one.suffix.lower() in FILM_SUFFIXES]
    escaped = {video_id: one for one in files if (video_id := unescape_video_id(one.stem)) is not None}
    return {**escaped, **{one.stem: one for one in files}}
