"""Which texts are an opt-out or an opt-in: safe matching of whole messages and clear phrases. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

Consent = Literal["stop", "resume", "perhaps"]

CLEAR_CHARS_MAX = 120  # a longer text is a sentence, not an order
READ_CHARS_MAX = 4_096  # of a text, in search of a word
PHRASE_CHARS_MAX = 60  # of a tenant's own

# By language, normalised: without accents, case and punctuation.
STOP: Mapping[str, tuple[str, ...]] = {
    "en": (
        *("stop", "stopall", "stop all", "unsubscribe", "cancel", "quit", "opt out", "optout", "remove me"),
        *("stop promotions", "stop messages", "stop marketing", "stop sending", "stop sending messages"),
        *("unsubscribe me", "stop sending me messages", "stop messaging me", "block promotions"),
    ),
    "pt": (
        *("parar", "pare", "parem", "sair", "cancelar", "cancela", "cancele", "descadastrar", "descadastre"),
        *("descadastro", "me descadastre", "me descadastrem", "remover", "remova", "me remova", "me remove"),
        *("sair da lista", "me tire da lista", "me tira da lista", "tire meu numero", "me tire dessa lista"),
        *("parar promocoes", "parar mensagens", "parar de receber", "parar de receber mensagens"),
        *("cancelar inscricao", "cancelar mensagens", "cancelar assinatura", "cancelar promocoes"),
        *("nao quero mais", "nao quero receber", "nao quero mais receber", "nao quero mais mensagens"),
        *("nao quero receber mensagens", "nao quero mais receber mensagens", "nao quero receber mais"),
        *("nao quero receber mais mensagens", "nao me mande mais mensagens", "nao me envie mais mensagens"),
        *("pare de enviar", "pare de mandar", "pare de me mandar mensagens", "pare de enviar mensagens"),
        *("parem de mandar mensagens", "parem de enviar mensagens", "bloquear", "desinscrever"),
    ),
    "es": (
        *("parar", "alto", "baja", "salir", "cancelar", "darme de baja", "dar de baja", "desuscribir"),
        *("detener", "detener promociones", "no quiero recibir", "no quiero mas mensajes", "no mas mensajes"),
        *("no quiero recibir mas mensajes", "cancelar suscripcion", "eliminar", "desuscribirme"),
    ),
}
# Fewer: a word that a person may mean otherwise ("voltar", "iniciar") must not end an opt-out.
RESUME: Mapping[str, tuple[str, ...]] = {
    "en": ("start", "unstop", "subscribe", "opt in", "optin", "start promotions", "resubscribe"),
    "pt": (
        *("retomar", "reativar", "inscrever", "quero receber", "voltar a receber", "receber promocoes"),
        *("quero voltar a receber", "retomar mensagens", "voltar a receber mensagens"),
    ),
    "es": ("reanudar", "suscribir", "suscribirme", "volver a recibir", "quiero recibir"),
}
# Words around an order that change nothing of it. A negation is none of them.
POLITE = frozenset(
    {
        *{"por", "favor", "pf", "pfv", "please", "pls", "porfavor", "porfa", "obrigado", "obrigada", "obg"},
        *{"thanks", "thank", "you", "gracias", "oi", "ola", "hi", "hello", "hola", "bom", "dia", "boa"},
        *{"tarde", "noite", "eu", "i", "me", "quero", "quiero", "want", "to", "gostaria", "de", "would"},
        *{"like", "pode", "podem", "can", "ja", "agora", "now", "isso", "tudo", "aqui", "moco", "moca"},
    }
)


class Words:
    """The built-in words and those of the tenants that a number serves."""

    def __init__(self, own: Iterable[tuple[str, str]] = ()) -> None:
        """`own`: pairs of phrase and consent; a tenant's word replaces the meaning of a built-in one."""
        meanings: dict[str, Consent] = dict(_BUILT_IN)
        meanings.update({normalised(phrase): _decided(consent) for phrase, consent in own})
        meanings.pop("", None)
        self._meanings = meanings
        self._alone = frozenset(phrase for phrase in meanings if " " not in phrase)

    def consent_of(self, texts: Iterable[str]) -> Consent | None:
        """Of the texts of one message (body, title, payload): the clearest; an opt-out before an opt-in."""
        found = {self._consent(text) for text in texts if text}
        return next((each for each in _BY_WEIGHT if each in found), None)

    def _consent(self, text: str) -> Consent | None:
        plain = normalised(text[:READ_CHARS_MAX])
        if len(text) <= CLEAR_CHARS_MAX and (clear := self._clear(plain)) is not None:
            return clear
        stops = (word for word in plain.split() if self._meanings.get(word) == "stop" and word in self._alone)
        return "perhaps" if any(stops) else None

    def _clear(self, plain: str) -> Consent | None:
        if plain in self._meanings:
            return self._meanings[plain]
        # Said more than once: "stop stop".
        words = plain.split()
        once = [word for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
        if " ".join(once) in self._meanings:
            return self._meanings[" ".join(once)]
        # Polite words at both ends only: within a phrase they may carry its meaning.
        first = next((place for place, word in enumerate(once) if word not in POLITE), len(once))
        last = next((place for place, word in enumerate(reversed(once)) if word not in POLITE), len(once))
        ends = ((begin, end) for begin in range(first + 1) for end in range(last + 1))
        inner = (" ".join(once[begin : len(once) - end]) for begin, end in ends)
        return next((self._meanings[phrase] for phrase in inner if phrase in self._meanings), None)


def normalised(text: str) -> str:
    """Words in lower case with one space between, without accents, punctuation and invisible characters."""
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    plain = unicodedata.normalize("NFKD", shown).casefold()
    kept = (
        char if char.isalnum() else "" if unicodedata.combining(char) or char in "'\u2019" else " "
        for char in plain
    )
    return " ".join("".join(kept).split())


@lru_cache(maxsize=1)
def built_in() -> Words:
    return Words()


def _decided(consent: str) -> Consent:
    return "stop" if consent == "stop" else "resume"


_BY_WEIGHT: tuple[Consent, ...] = ("stop", "resume", "perhaps")
_BUILT_IN: Mapping[str, Consent] = {
    **{phrase: "resume" for phrases in RESUME.values() for phrase in phrases},
    **{phrase: "stop" for phrases in STOP.values() for phrase in phrases},
}
