"""The stylesheets and the script of pages. Caches keep them: their names have the hash of their content."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from ingest_api.http.problems import NOT_FOUND, rejection, shown
from ingest_api.http.reply import Headers, Receive, Reply, Scope
from ingest_api.quiz_pages.accent import stylesheet
from ingest_api.quiz_pages.headers import GZIP
from ingest_api.quiz_pages.negotiation import accepts_gzip, header

FOLDER = Path(__file__).parent / "files"
PATH = "/quiz-assets/"
CSS, JAVASCRIPT = b"text/css; charset=utf-8", b"text/javascript; charset=utf-8"
MEDIA_TYPES = {".css": CSS, ".js": JAVASCRIPT, ".mjs": JAVASCRIPT, ".svg": b"image/svg+xml"}
IMMUTABLE: Headers = (
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"vary", b"accept-encoding"),
)
# A page of another release names it: that of a cache, or of an edge that is not restarted yet.
OTHER_RELEASE: Headers = ((b"cache-control", b"public, max-age=60"), *IMMUTABLE[1:])
ICON = "icon.svg"
STYLES = ("page.css",)
# In the order in which they run: `page.js` sends with `window.quizstream` and reports with
# `window.quizstreamVisit`, which the scripts before it make.
SCRIPTS = ("quizstream.js", "quizstream-progress.js", "page.js")

_ACCENT = re.compile(r"accent-([0-9a-f]{6})(?:\.([0-9a-f]{12}))?\.css")
_HASHED = re.compile(r"([a-z-]{1,32})\.[0-9a-f]{12}(\.[a-z]{1,8})")


class Assets:
    def __init__(self) -> None:
        self._replies: dict[str, Reply] = {}
        self._packed: dict[str, Reply] = {}
        self._others: dict[tuple[str, str], Reply] = {}
        self._paths: dict[str, str] = {}
        for name in (ICON, *STYLES, *SCRIPTS):
            body = (FOLDER / name).read_bytes()
            stem, suffix = Path(name).stem, Path(name).suffix
            hashed = f"{stem}.{_digest(body)}{suffix}"
            media_type = MEDIA_TYPES[suffix]
            self._replies[hashed] = Reply(200, body, media_type, IMMUTABLE)
            packed = gzip.compress(body, mtime=0)
            self._packed[hashed] = Reply(200, packed, media_type, (*IMMUTABLE, *GZIP))
            self._paths[name] = PATH + hashed
            self._others[stem, suffix] = Reply(200, body, media_type, OTHER_RELEASE)

    def path(self, name: str) -> str:
        return self._paths[name]

    async def file(self, scope: Scope, _receive: Receive) -> Reply:
        name = scope["path_params"]["name"]
        packed = accepts_gzip(header(scope, b"accept-encoding"))
        found = (self._packed if packed else self._replies).get(name)
        if found is not None:
            return found
        accent = _ACCENT.fullmatch(name)
        css = None if accent is None else stylesheet(accent[1])
        if accent is not None and css is not None:
            return Reply(200, css, CSS, IMMUTABLE if accent[2] == _digest(css) else OTHER_RELEASE)
        hashed = _HASHED.fullmatch(name)
        other = None if hashed is None else self._others.get((hashed[1], hashed[2]))
        if other is not None:
            return other
        raise rejection(NOT_FOUND, f'there is no file "{shown(name)}"')


def accent_path(accent: str) -> str:
    """Return the address of the stylesheet of a colour, such as `#0b6e69`."""
    colour = accent.removeprefix("#")
    css = stylesheet(colour)
    assert css is not None, "the colour of a page is checked where it is saved and read"
    return f"{PATH}accent-{colour}.{_digest(css)}.css"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:12]
