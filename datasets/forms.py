"""What a file of a source is, by its name: an image, what systems and editors leave, a note, or what is not read."""

import os
import re
from collections import Counter
from collections.abc import Iterable

IMAGES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pnm", ".jp2", ".avif"),
}
"""The forms that are read, where a file is one still image of 8 bits."""
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zst", ".7z", ".rar"}
TEXT = {".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".html", ".htm"}
SUMS = {".md5", ".sha1", ".sha256", ".log"}
NOTES = {"readme", "license", "licence", "copying", "notice", "authors", "citation", "changelog"}

HIDDEN = re.compile(
    r"\.(?!\.?$).*|__macosx|__pycache__|@eadir|lost\+found|\$recycle\.bin|system volume information", re.I | re.S
)
"""Names that systems give to folders and files of their own, `._*` and `.DS_Store` among them."""
LEFT = re.compile(r"thumbs\.db|ehthumbs\.db|desktop\.ini|icon\r|~\$.*|#.*#|.*~|.*\.(bak|orig|sw[op])", re.I | re.S)
"""Names of files that systems and editors leave."""

SHOWN = 5
"""Forms that are named; the others are counted together."""

Kind = tuple[str, str]
"""What is counted: a noun that takes an s, and what follows it."""

LOOP: Kind = ("link", " back to a folder around it")
OUTSIDE: Kind = ("link", " to nothing in the archive")
SPECIAL: Kind = ("device, pipe or socket file", "")


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def is_image(name: str) -> bool:
    return suffix(name) in IMAGES


def is_left(name: str) -> bool:
    """Whether systems or editors left the file, by its path inside a source: such are skipped everywhere."""
    *folders, file = name.split("/")
    return any(map(HIDDEN.fullmatch, (*folders, file))) or LEFT.fullmatch(file) is not None


def is_note(name: str) -> bool:
    """Text, tables, checksums, licences: what sets come with and no reader looks for images in."""
    stem, ending = os.path.splitext(name.rpartition("/")[2].lower())
    return ending in TEXT | SUMS or stem in NOTES


def kind(name: str) -> Kind:
    """As what a file that is not read is counted."""
    return ("file", f" of the form {ending}" if (ending := suffix(name)) else " without a suffix")


def unread(kinds: Iterable[Kind]) -> str:
    """ "55 files of the form .psd are not read; convert images to PNG", or nothing where there is nothing."""
    counts = Counter(kinds)
    shown = counts.most_common(SHOWN if len(counts) > SHOWN + 1 else None)
    parts = [f"{count} {noun}{'s' * (count > 1)}{rest}" for (noun, rest), count in shown]
    if others := counts.total() - sum(count for _, count in shown):
        parts.append(f"{others} others")
    if not parts:
        return ""
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
    return f"{listed} {'is' if counts.total() == 1 else 'are'} not read{_advice(counts)}"


def _advice(counts: Counter[Kind]) -> str:
    endings = {rest.rpartition(" ")[2] for noun, rest in counts if noun == "file"}
    advice = ["convert images to PNG"] * bool(endings - ARCHIVES) + ["unpack archives"] * bool(endings & ARCHIVES)
    return f"; {', '.join(advice)}" if advice else ""
