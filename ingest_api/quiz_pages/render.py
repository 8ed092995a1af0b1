"""Renders a page: as HTML for a person, as JSON for a program, and the page of thanks."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ingest_api.completions.receive import EMAIL_CHARS_MAX, NAME_CHARS_MAX
from ingest_api.http.reply import Reply
from ingest_api.quiz_pages.assets import ICON, SCRIPTS, STYLES, Assets, accent_path
from ingest_api.quiz_pages.content import Content, StoredQuiz, content_of
from ingest_api.quiz_pages.texts import BY_LANGUAGE
from schemas.phones import PHONE_CHARS_MAX
from schemas.quiz_page import DEFAULT_ACCENT, Language

TEMPLATES = Path(__file__).parent / "files"
HTML = b"text/html; charset=utf-8"
ETAG_BYTES = 16
PACKED_LEVEL = 9  # once for each version of a quiz


class Document(msgspec.Struct, frozen=True, array_like=True):
    """A representation and its strong validator; `packed` is it in gzip, with a validator of its own."""

    body: bytes
    etag: bytes
    packed: bytes
    packed_etag: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.packed)


class Rendered(msgspec.Struct, frozen=True, array_like=True):
    """All representations of one version of a quiz. The version itself is in none of them."""

    version: int
    html: Document
    json: Document
    thanks: Document

    @property
    def size_bytes(self) -> int:
        return self.html.size_bytes + self.json.size_bytes + self.thanks.size_bytes


class Renderer:
    def __init__(self, assets: Assets, answer_chars_max: int) -> None:
        self._answer_chars_max = answer_chars_max
        templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._icon = assets.path(ICON)
        self._styles = [assets.path(name) for name in STYLES]
        self._scripts = [assets.path(name) for name in SCRIPTS]
        self._page = templates.get_template("page.html.jinja")
        self._notice = templates.get_template("notice.html.jinja")
        self._json = msgspec.json.Encoder()
        # Copies of another release of templates, texts, files or code, or of another setting, are not used.
        forms = (BY_LANGUAGE, answer_chars_max, Rendered.__struct_fields__, Document.__struct_fields__)
        code = (Path(__file__).with_name(name) for name in ("accent.py", "content.py", "render.py"))
        files = (*sorted(TEMPLATES.iterdir()), *code)
        sources = [*(path.read_bytes() for path in files), repr(forms).encode()]
        self.fingerprint = hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]

    def render(self, quiz: StoredQuiz) -> Rendered:
        content = content_of(quiz, self._answer_chars_max)
        texts = BY_LANGUAGE[content.language]
        thanks = self._noticed(
            content.language, texts.thanks_title, content.thanks, content.accent, title=content.title
        )
        return Rendered(
            quiz.version,
            _document(self._html(content)),
            _document(self._json.encode(content)),
            _document(thanks),
        )

    def _html(self, content: Content) -> bytes:
        texts = BY_LANGUAGE[content.language]
        return self._page.render(
            content=content,
            texts=texts,
            styles=[*self._styles, accent_path(content.accent)],
            scripts=self._scripts,
            icon=self._icon,
            name_chars_max=NAME_CHARS_MAX,
            email_chars_max=EMAIL_CHARS_MAX,
            phone_chars_max=PHONE_CHARS_MAX,
        ).encode()

    def notice(self, reply: Reply, language: Language, back: str | None) -> bytes:
        """Return the page that shows a problem to a person; `back`: the address of the quiz."""
        texts = BY_LANGUAGE[language]
        title, text = texts.problems.get(reply.problem, texts.problem)
        return self._noticed(language, title, text, DEFAULT_ACCENT, back=back)

    def _noticed(
        self,
        language: Language,
        heading: str,
        text: str,
        accent: str,
        title: str = "",
        back: str | None = None,
    ) -> bytes:
        return self._notice.render(
            language=language,
            heading=heading,
            text=text,
            title=title or heading,
            back=back,
            texts=BY_LANGUAGE[language],
            styles=[*self._styles, accent_path(accent)],
            icon=self._icon,
        ).encode()


def _document(body: bytes) -> Document:
    digest = hashlib.blake2b(body, digest_size=ETAG_BYTES).hexdigest().encode()
    packed = gzip.compress(body, PACKED_LEVEL, mtime=0)
    return Document(body, b'"%b"' % digest, packed, b'"%b-gzip"' % digest)
