"""Which texts are an opt-out or an opt-in: safe matching of whole messages and clear phrases. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
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
        *("remove", "remove my number", "remove my number from the list", "remove me from the list"),
        *("stop promotions", "stop messages", "stop marketing", "stop sending", "stop sending messages"),
        *("unsubscribe me", "stop sending me messages", "stop messaging me", "block promotions"),
    ),
    "pt": (
        *("parar", "pare", "parem", "sair", "cancelar", "cancela", "cancele", "descadastrar", "descadastre"),
        *("descadastro", "me descadastre", "me descadastrem", "remover", "remova", "me remova", "me remove"),
        *("sair da lista", "me tire da lista", "me tira da lista", "tire meu numero", "me tire dessa lista"),
        *("me tirem da lista", "me tirem dessa lista", "me retire da lista", "me retirem da lista"),
        *("tirem meu numero", "tira meu numero", "remova meu numero", "removam meu numero"),
        *("parar promocoes", "parar mensagens", "parar de receber", "parar de receber mensagens"),
        *("cancelar inscricao", "cancelar mensagens", "cancelar assinatura", "cancelar promocoes"),
        *("nao quero mais", "nao quero receber", "nao quero mais receber", "nao quero mais mensagens"),
        *("nao quero receber mensagens", "nao me mande mais mensagens", "nao me envie mais mensagens"),
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
# A refusal in Portuguese, which has too many forms for a list: nothing but these words, so that
# "nao quero perder a promocao" and "nao quero mais esperar" are none. What may be refused:
_REFUSED = r"mensag\w*|msgs?|promoc\w*|contatos?|propagandas?|ofertas?"
_REFUSAL_BEGINS = r"nao (?:quero|desejo|(?:me )?(?:mandem?|enviem?))"
_REFUSAL_WORD = (
    rf"mais|receber|nada|nenhuma?|{_REFUSED}|as|os|suas?|seus?|dess[ae]s?|dest[ae]s?|ess[ae]s?|est[ae]s?|isso"
    r"|e|nem|de|da|do|voces?|lista|numero|loja|empresa|whatsapp|por|aqui"
)
_REFUSAL = re.compile(rf"(?=.*\b(?:mais|receber|{_REFUSED})\b){_REFUSAL_BEGINS}(?: (?:{_REFUSAL_WORD}))+")
_PERHAPS_REFUSAL = re.compile(rf"\b{_REFUSAL_BEGINS}\b.*\b(?:mais|receber|{_REFUSED})\b")
# All that may be around an opt-in: "can you start now?" and "I want to start" speak of something else.
PLEAS = frozenset({"por", "favor", "pf", "pfv", "please", "pls", "porfavor", "porfa"})
# Words around an opt-out that change nothing of it. A negation is none of them.
POLITE = (
    PLEAS
    | {"obrigado", "obrigada", "obg", "thanks", "thank", "you", "gracias", "oi", "ola", "hi", "hello"}
    | {"hola", "bom", "dia", "boa", "tarde", "noite", "eu", "i", "me", "quero", "quiero"}
    | {"want", "to", "gostaria", "de", "would", "like", "pode", "podem", "can", "ja", "agora"}
    | {"now", "isso", "tudo", "aqui", "moco", "moca"}
)


class Words:
    """The built-in words and those of the tenants that a number serves."""

    def __init__(self, own: Iterable[tuple[str, str]] = ()) -> None:
        """`own`: pairs of phrase and consent, of one tenant or several.

        What means an opt-out, built in or to any of the tenants, is never an opt-in: one tenant's word must
        not end an opt-out from the others.
        """
        told = [(normalised(phrase), consent) for phrase, consent in own]
        self._stops = _STOPS | {phrase for phrase, consent in told if phrase and consent == "stop"}
        self._resumes = _RESUMES | {phrase for phrase, consent in told if phrase and consent == "resume"}

    def consent_of(self, texts: Iterable[str]) -> Consent | None:
        """Of the texts of one message (body, title, payload): the clearest; an opt-out before an opt-in."""
        found = {self._consent(text) for text in texts if text}
        return next((each for each in _BY_WEIGHT if each in found), None)

    def _consent(self, text: str) -> Consent | None:
        plain = normalised(text[:READ_CHARS_MAX])
        if len(text) <= CLEAR_CHARS_MAX and (clear := self._clear(plain)) is not None:
            return clear
        spaced = f" {plain} "
        has_order = any(f" {phrase} " in spaced for phrase in self._stops)
        return "perhaps" if has_order or _PERHAPS_REFUSAL.search(plain) else None

    def _clear(self, plain: str) -> Consent | None:
        # Said more than once: "stop stop".
        words = plain.split()
        once = [word for place, word in enumerate(words) if place == 0 or word != words[place - 1]]
        if any(said in self._stops or _REFUSAL.fullmatch(said) for said in (plain, *_inner(once, POLITE))):
            return "stop"
        return "resume" if any(said in self._resumes for said in (plain, *_inner(once, PLEAS))) else None


def _inner(words: Sequence[str], around: Container[str]) -> Iterator[str]:
    """The text without some of the words `around` at its ends; within a phrase they may carry its meaning."""
    first = next((place for place, word in enumerate(words) if word not in around), len(words))
    last = next((place for place, word in enumerate(reversed(words)) if word not in around), len(words))
    for begin in range(first + 1):
        for end in range(last + 1):
            yield " ".join(words[begin : len(words) - end])


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


_BY_WEIGHT: tuple[Consent, ...] = ("stop", "resume", "perhaps")
_STOPS = frozenset(phrase for phrases in STOP.values() for phrase in phrases)
_RESUMES = frozenset(phrase for phrases in RESUME.values() for phrase in phrases)
