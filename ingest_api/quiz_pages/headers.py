"""What browsers and caches may do with a page: its security headers and its times."""

from __future__ import annotations

from collections.abc import Sequence

from ingest_api.http.reply import Headers
from pipeline.topology.file import Pages

NO_STORE: Headers = ((b"cache-control", b"no-store"),)
VARY: Headers = ((b"vary", b"accept, accept-encoding"),)
GZIP: Headers = ((b"content-encoding", b"gzip"),)
# Of problems; a quiz has its own language.
VARY_LANGUAGE: Headers = ((b"vary", b"accept, accept-language"),)
STALE_S = 5  # a copy of which the source is unavailable: caches request it again soon
ABSENT_S = 10


def security(frame_ancestors: Sequence[str]) -> Headers:
    """Nothing inline, nothing from elsewhere; in a frame only on the sites that the deployment names."""
    ancestors = " ".join(frame_ancestors) if frame_ancestors else "'none'"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    )
    frames: Headers = () if frame_ancestors else ((b"x-frame-options", b"DENY"),)
    return (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"strict-origin-when-cross-origin"),
        (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
        (b"cross-origin-opener-policy", b"same-origin"),
        *frames,
    )


def cacheable(pages: Pages) -> Headers:
    return (
        (
            b"cache-control",
            b"public, max-age=%d, s-maxage=%d, stale-while-revalidate=%d, stale-if-error=%d"
            % (pages.max_age_s, pages.s_maxage_s, pages.stale_while_revalidate_s, pages.stale_if_error_s),
        ),
    )


def stale(pages: Pages) -> Headers:
    return (
        (
            b"cache-control",
            b"public, max-age=0, s-maxage=%d, stale-if-error=%d" % (STALE_S, pages.stale_if_error_s),
        ),
    )


ABSENT: Headers = ((b"cache-control", b"public, max-age=%d, s-maxage=%d" % (ABSENT_S, ABSENT_S)),)
