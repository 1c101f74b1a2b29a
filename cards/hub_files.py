"""Small files that every dataset repository on the Hub carries."""

__all__ = ["CROISSANT_FILE", "GITATTRIBUTES", "GITATTRIBUTES_FILE"]

CROISSANT_FILE = "croissant.json"
"""Name of the Croissant file in a dataset folder."""

GITATTRIBUTES_FILE = ".gitattributes"
"""Name of the file that says what git keeps as large files."""

_LARGE = (
    "parquet", "arrow", "mp4", "mkv", "webm", "mov", "flac", "wav", "mp3", "ogg", "opus",
    "png", "jpg", "jpeg", "webp", "gif", "zip", "tar", "gz", "zst",
)  # fmt: skip

GITATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in _LARGE) + "".join(
    f"{name} text eol=lf\n" for name in ("*.md", "*.json", "*.txt")
)
"""Tables, films, sound, pictures and archives are large files (LFS, and with it xet); the rest is text.

The Hub itself keeps a text file above 10 MB as a large one, whatever stands here.
"""
