"""A figure's SVG as a part of a page."""

import re

from markupsafe import Markup, escape

PROLOG = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
OPENING = re.compile(r"<svg\b[^>]*>")
SIZE = re.compile(r'\s(?:width|height|role|aria-\w+)="[^"]*"')
ID = re.compile(r'(\bid="|\bhref="#|url\(#|\baria-labelledby=")')
TITLE = re.compile(r"^\s*<title\b.*?</title>", re.DOTALL)
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def inline(svg: str, title: str, prefix: str) -> Markup:
    """`svg` with a title that is read out, ids that nothing else on the page has, and as wide as there is room."""
    body = ID.sub(rf"\g<1>{prefix}", METADATA.sub("", PROLOG.sub("", svg)))
    opening = OPENING.search(body)
    if opening is None:
        raise ValueError(f"the figure {title!r} is no SVG")
    width = re.search(r'\swidth="([\d.]+)pt"', opening[0])
    style = f' style="width:{float(width[1]) * 4 / 3:.0f}px"' if width else ""
    tag = SIZE.sub("", opening[0])[:-1]
    named = f'{tag} role="img" aria-labelledby="{prefix}title"{style}><title id="{prefix}title">{escape(title)}</title>'
    return Markup(named + TITLE.sub("", body[opening.end() :]))
