"""Accepts a completion: checks caller, quiz and body, computes id, day and score, publishes, answers 202."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache

from ingest_api.completions import answers, keys, parse
from ingest_api.completions.key_memory import KeyMemory, fingerprint
from ingest_api.http import body
from ingest_api.http.cors import PREFLIGHT
from ingest_api.http.headers import by_name
from ingest_api.http.metrics import CLOCKS_AHEAD
from ingest_api.http.problems import (
    INVALID_EMAIL,
    INVALID_PHONE,
    KEY_REUSED,
    NOT_READY,
    TOO_LONG,
    pointer,
    rejection,
)
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.scoring import Scoring
from ingest_api.reference.tokens import Caller, Service, Tokens, require_tenant
from pipeline.runtime.clock import now_ms
from pipeline.topology.file import Edge
from pipeline.topology.model import Topic
from schemas import ids, phones
from schemas.codec import Codec
from schemas.records import Answer, Completion, Consent, Personal

NAME_CHARS_MAX = 200
EMAIL_CHARS_MAX = 254  # RFC 5321: the longest address in a path
NOT_READY_RETRY_S = 2.0
COMPLETION = "quizstream.completion"  # in the scope: what was accepted, unless it is known as a repeat


@dataclass(frozen=True)
class Stamp:
    """The values that the edge adds to a submission; tests inject their own clock and randomness."""

    contact_key: bytes
    region: str = ""
    now_ms: Callable[[], int] = now_ms
    random_bytes: Callable[[int], bytes] = os.urandom


class ReceiveCompletion:
    """Handler of `POST /quiz/{quiz_id}/completions`. Answers 202 only after the record is durable."""

    def __init__(
        self,
        edge: Edge,
        topic: Topic,
        codec: Codec[Completion],
        publisher: Publisher,
        reference_data: ReferenceData,
        quizzes: Quizzes,
        tokens: Tokens,
        stamp: Stamp,
    ) -> None:
        self._edge = edge
        self._topic = topic.name
        self._codec = codec
        self._publisher = publisher
        self._reference_data = reference_data
        self._quizzes = quizzes
        self._tokens = tokens
        self._stamp = stamp
        self._limits = answers.AnswerLimits(edge.answers_max, edge.answer_chars_max, edge.key_chars_max)
        self._key_memory = KeyMemory(edge.key_memory)
        future_s = edge.submitted_future_max_s
        self._bounds = keys.TimeBounds(
            edge.submitted_past_max_h, "submitted_past_max_h", future_s, future_is_error=False
        )
        self._service_bounds = keys.TimeBounds(
            edge.submitted_past_max_h_service, "submitted_past_max_h_service", future_s
        )

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return PREFLIGHT
        headers = by_name(scope["headers"])
        if not self._reference_data.caught_up:
            raise rejection(NOT_READY, "the quizzes are still being read", retry_after_s=NOT_READY_RETRY_S)
        caller = self._tokens.caller(headers.get(b"authorization"))
        scoring = self._quizzes.open(scope["path_params"]["quiz_id"])
        require_tenant(caller, scoring.quiz.tenant_id)
        body.require_json(headers)
        content = await body.read_body(receive, headers, self._edge.body_bytes_max)
        submission = parse.parse(content)
        given = parse.answered(submission.answers)
        answers.check(given, scoring.questions, len(content), self._limits)
        self._publisher.require_open()
        key = keys.idempotency_key(
            headers.get(b"idempotency-key"), parse.given(submission.completion_id), self._edge.key_chars_max
        )
        completion = self._completion(scoring, submission, given, key, self._bounds_of(caller))
        is_repeat = key is not None and self._remember(completion, parse.given(submission.score))
        try:
            await self._publisher.publish(
                self._topic, completion.contact_id.encode(), self._codec.encode(completion)
            )
        except BaseException:
            if key is not None and not is_repeat:
                self._key_memory.forget(completion.completion_id)
            raise
        if completion.clock_ahead_ms:
            CLOCKS_AHEAD.inc()
        if not is_repeat:
            scope[COMPLETION] = completion
        return accepted(completion, is_repeat)

    def _remember(self, completion: Completion, given_score: float | None) -> bool:
        """Return whether the completion is a repeat. Raises Rejection if its content was another one."""
        content = fingerprint(completion.answers, completion.personal, completion.consent, given_score)
        known = self._key_memory.remember(completion.completion_id, content)
        if known is not None and known != content:
            raise rejection(
                KEY_REUSED,
                f"completion {completion.completion_id} was accepted with another content under this key",
            )
        return known is not None

    def _bounds_of(self, caller: Caller) -> keys.TimeBounds:
        return self._service_bounds if isinstance(caller, Service) else self._bounds

    def _completion(
        self,
        scoring: Scoring,
        submission: parse.Submission,
        given: dict[str, Answer],
        key: str | None,
        bounds: keys.TimeBounds,
    ) -> Completion:
        stamp, quiz = self._stamp, scoring.quiz
        accepted_at = stamp.now_ms()
        given_at = submission.submitted_at_ms
        ahead_ms = keys.clock_ahead_ms(given_at, accepted_at, bounds)
        submitted_at = accepted_at if ahead_ms else keys.submitted_at(given_at, key, accepted_at, bounds)
        contact = parse.given(submission.contact)
        personal = personal_of(contact)
        decided = None if contact is None else contact.consent
        consent = Consent(decided.granted, decided.text) if isinstance(decided, parse.Consent) else None
        contact_id = (
            ids.contact_id(stamp.contact_key, quiz.tenant_id, personal.phone) if personal.phone else ""
        )
        completion_id = ids.completion_id(
            quiz.tenant_id,
            quiz.quiz_id,
            key if key is not None else keys.new_key(accepted_at, stamp.random_bytes),
            contact_id,
        )
        score = scoring.score(given)
        return Completion(
            completion_id=completion_id,
            tenant_id=quiz.tenant_id,
            quiz_id=quiz.quiz_id,
            quiz_version=quiz.version,
            contact_id=contact_id or ids.anonymous_contact_id(stamp.contact_key, completion_id),
            day=ids.day_of(submitted_at),
            submitted_at=submitted_at,
            accepted_at=accepted_at,
            answers=given,
            personal=personal,
            score=score if score is not None else parse.given(submission.score),
            region=stamp.region,
            clock_ahead_ms=ahead_ms,
            consent=consent,
        )


def personal_of(contact: parse.Contact | None) -> Personal:
    """Return the checked contact with a canonical phone; an empty text counts as absent.

    Raises Rejection with the field; its detail never contains a whole phone number.
    """
    if contact is None:
        return Personal()
    written = (parse.given(contact.phone) or "").strip()
    phone = phones.read(written) if written else None
    if isinstance(phone, phones.Rejected):
        raise rejection(INVALID_PHONE, phone.detail, pointer=pointer("contact", "phone"))
    name = (parse.given(contact.name) or "").strip()
    if len(name) > NAME_CHARS_MAX:
        raise rejection(
            TOO_LONG,
            f"it has {len(name)} characters; at most {NAME_CHARS_MAX} are accepted",
            pointer=pointer("contact", "name"),
        )
    email = (parse.given(contact.email) or "").strip()
    if email and not _is_address(email):
        raise rejection(INVALID_EMAIL, "it is not an e-mail address", pointer=pointer("contact", "email"))
    return Personal(phone.e164 if phone else None, name or None, email or None)


def _is_address(email: str) -> bool:
    local, at, domain = email.rpartition("@")
    # An encoded word of e-mail headers: mail programs show another address.
    plain = email.isprintable() and " " not in email and "=?" not in email
    return bool(len(email) <= EMAIL_CHARS_MAX and plain and at and local and "@" not in local and domain)


def accepted(completion: Completion, is_repeat: bool = False) -> Reply:
    """Return the answer. `repeated` and `clock_ahead_ms` are only in it where they say something."""
    at = datetime.fromtimestamp(completion.accepted_at / 1000, UTC).isoformat(timespec="milliseconds")
    return Reply(
        202,
        b'{"completion_id":"%b","day":"%b","accepted_at":"%bZ"%b%b}'
        % (
            completion.completion_id.encode(),
            _iso_day(completion.day),
            at[:-6].encode(),
            b',"repeated":true' if is_repeat else b"",
            b',"clock_ahead_ms":%d' % completion.clock_ahead_ms if completion.clock_ahead_ms else b"",
        ),
    )


@lru_cache(maxsize=1024)
def _iso_day(day: int) -> bytes:
    return date.fromordinal(ids.EPOCH_ORDINAL + day).isoformat().encode()
