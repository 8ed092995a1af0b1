"""E-mail by SMTP: from a rendered message to a transaction, from the server's reply to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.campaigns.message import Rendered
from pipeline.runtime.clock import now_ms
from sinks.actions import FailRecipient
from sinks.connection import NoReply, NothingWritten, Reply
from sinks.messaging.email.codes import UNLISTED, action_of, code_of, listed
from sinks.messaging.email.connections import Login, Replied, SmtpConnection, SmtpConnections
from sinks.messaging.email.letters import address_of, letter, message_id_of
from sinks.messaging.email.unsubscribe import is_usable, url_of
from sinks.outcomes import Ambiguous, Outcome, Rejected, Sent, without_personal
from sinks.provider import Answer, Callbacks, CredentialMissing
from sinks.unanswered import without_reply

DETAIL_CHARS_MAX = 200
MESSAGE_ID, STEP = "message-id", "step"  # of an answer: what the reply itself does not say


class SmtpClient:
    """Messages of one sender, which is an e-mail address."""

    def __init__(
        self,
        number_id: str,
        credential: str,
        connections: SmtpConnections,
        callbacks: Callbacks,
        now: Callable[[], int] = now_ms,
    ) -> None:
        """Raises CredentialMissing for a secret that cannot be used, and where nobody could unsubscribe."""
        Login.parse(credential)
        sender = address_of(number_id)
        if sender is None:
            raise CredentialMissing(f"number {number_id}: the id of a sender of e-mails is its address")
        if not callbacks.secret or not is_usable(callbacks.edge_url):
            raise CredentialMissing(
                f"number {number_id}: set SMTP_UNSUBSCRIBE_SECRET, and QUIZSTREAM_EDGE_URL to the public "
                "https address of the edge: recipients unsubscribe there"
            )
        self._sender = sender
        self._connections = connections
        self._callbacks = callbacks
        self._now = now

    async def send(
        self,
        line: SmtpConnection,
        to: str,
        message: Rendered,
        attempt_id: str,
        *,
        not_after: float,
        timeout_s: float,
    ) -> Outcome:
        """One transaction, at most once; the connection is given back."""
        recipient = address_of(to)
        if recipient is None:
            self._connections.give(line)
            return Rejected(FailRecipient(), "", "the contact's e-mail address cannot be used", written=False)
        url = url_of(self._callbacks.edge_url, self._callbacks.secret, self._sender, attempt_id)
        now = datetime.fromtimestamp(self._now() / 1000, UTC)
        content = letter(self._sender, recipient, message, attempt_id, url, now)
        told = await line.send(self._sender, recipient, content, not_after=not_after, timeout_s=timeout_s)
        self._connections.give(line)
        outcome = outcome_of(_answer(told, message_id_of(attempt_id, self._sender)))
        return Sent(outcome.provider_message_id, (recipient,)) if isinstance(outcome, Sent) else outcome

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        return None


def _answer(told: Replied | NothingWritten | NoReply, message_id: str) -> Answer:
    if not isinstance(told, Replied):
        return told
    headers = {MESSAGE_ID: message_id, STEP: told.step}
    return Reply(told.status, told.text.encode("utf-8", "replace"), headers)


def outcome_of(answer: Answer) -> Outcome:
    """Not sent: nothing of the message was written, or the server replied 4xx or 5xx. Else ambiguous."""
    reply = without_reply(answer)
    if not isinstance(reply, Reply):
        return reply
    text = reply.body.decode("utf-8", "replace")
    message_id = reply.headers.get(MESSAGE_ID)
    if reply.status == 250 and message_id:
        return Sent(message_id)
    code = code_of(reply.headers.get(STEP, ""), reply.status, text)
    if action_of(code, reply.status) is None:
        return Ambiguous(f"the server replied {reply.status}")
    known = listed(code)
    shown = without_personal(text[:DETAIL_CHARS_MAX])
    if known is None:
        return Rejected(UNLISTED, code, f"{code}: {shown}", listed=False)
    return Rejected(known.action, code, f"{code}: {known.meaning}: {shown}"[:DETAIL_CHARS_MAX])
