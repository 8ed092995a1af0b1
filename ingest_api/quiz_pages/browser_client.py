"""Serves the browser client and the script of progress at addresses that never change: NAMES.

Their source is in `browser/`; `files/` has the built forms.
"""

from __future__ import annotations

import gzip
import hashlib

from ingest_api.http.problems import NOT_FOUND, rejection
from ingest_api.http.reply import Headers, Receive, Reply, Scope
from ingest_api.quiz_pages.assets import FOLDER, JAVASCRIPT
from ingest_api.quiz_pages.headers import GZIP
from ingest_api.quiz_pages.negotiation import accepts_gzip, header, is_unchanged

NAMES = ("quizstream.js", "quizstream.mjs", "quizstream-progress.js", "quizstream-progress.mjs")
PATHS = tuple(f"/{name}" for name in NAMES)
# A new version is there after an hour, or on the second visit after it.
HEADERS: Headers = (
    (b"cache-control", b"public, max-age=3600, stale-while-revalidate=86400, stale-if-error=604800"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"vary", b"accept-encoding"),
)


class BrowserClient:
    def __init__(self) -> None:
        self._files: dict[tuple[str, bool], Reply] = {}  # by path, and whether it is in gzip
        for name in NAMES:
            body = (FOLDER / name).read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:32].encode()
            packed = gzip.compress(body, mtime=0)
            plain = ((b"etag", b'"%b"' % digest), *HEADERS)
            self._files[f"/{name}", False] = Reply(200, body, JAVASCRIPT, plain)
            in_gzip = ((b"etag", b'"%b-gzip"' % digest), *HEADERS, *GZIP)
            self._files[f"/{name}", True] = Reply(200, packed, JAVASCRIPT, in_gzip)

    async def file(self, scope: Scope, _receive: Receive) -> Reply:
        packed = accepts_gzip(header(scope, b"accept-encoding"))
        found = self._files.get((scope["path"].rstrip("/"), packed))
        if found is None:
            raise rejection(NOT_FOUND, f"the client is {' or '.join(PATHS)}")
        etag, *others = found.headers
        if_none_match = header(scope, b"if-none-match")
        if if_none_match and is_unchanged(if_none_match, etag[1]):
            return Reply(304, b"", JAVASCRIPT, (etag, *(one for one in others if one not in GZIP)))
        return found
