"""Which texts opt out: whole messages and clear phrases, and no sentence that merely has the word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.people.words import POLITE, RESUME, STOP, Words, built_in, normalised

STOPS = [phrase for phrases in STOP.values() for phrase in phrases]
RESUMES = [phrase for phrases in RESUME.values() for phrase in phrases]


@pytest.mark.parametrize(
    "text",
    [
        *("CANCELAR", "PARE", "DESCADASTRAR", "SAIR", "Sair!", " stop ", "STOP.", "🛑 stop", "Stop\u200b"),
        *("Stop promotions", "Parar promoções", "PARAR PROMOÇÕES", "sair por favor", "Por favor, sair"),
        *(
            "quero sair",
            "Oi, eu quero cancelar",
            "stop stop stop",
            "\uff33\uff34\uff2f\uff30",
            "não quero mais receber mensagens",
        ),
        *("Não quero receber promoções", "não quero mais receber promoções", "não quero mais mensagem"),
        *("não quero receber mais mensagens suas", "nao me mande mais mensagem", "não me envie mais nada"),
        *("Oi, não desejo mais receber contato", "nao quero receber mais nada de vocês, obrigada"),
        *("me tirem da lista", "please remove my number", "remove", "ALTO", "baja"),
        *("Me tire da lista, por favor", "opt-out", "OPT_OUT", "Darme de baja", "unsubscribe please"),
    ],
)
def test_an_order_is_an_opt_out(text: str) -> None:
    assert built_in().consent_of([text]) == "stop"


@pytest.mark.parametrize(
    "text",
    [
        *("não quero sair", "don't stop", "nao pare, estou gostando", "where do I stop?", "sair que horas?"),
        *("não quero perder a promoção", "não quero mais esperar", "não quero parar de receber mensagens"),
        *("já disse que não quero mais receber promoções do mercado", "my friend said to opt out of it"),
        *("quero cancelar minha consulta de amanhã", "the bus stop is near", "stop " + "x" * 200),
    ],
)
def test_a_sentence_that_has_the_word_is_perhaps_one(text: str) -> None:
    assert built_in().consent_of([text]) == "perhaps"


@pytest.mark.parametrize(
    "text", ["START", "unstop", "Voltar a receber", "quero receber", "Start, please", "reanudar"]
)
def test_an_opt_in(text: str) -> None:
    assert built_in().consent_of([text]) == "resume"


@pytest.mark.parametrize(
    "text",
    ["Can you start now?", "I want to start", "can you subscribe me", "Obrigado, já quero receber"],
)
def test_a_sentence_about_a_start_is_no_opt_in(text: str) -> None:
    assert built_in().consent_of([text]) is None


@pytest.mark.parametrize("text", ["", "olá", "parara", "nonstop", "obrigado", "por favor", "saira"])
def test_other_texts_are_neither(text: str) -> None:
    assert built_in().consent_of([text]) is None


@pytest.mark.parametrize("turn", [1, -1])
def test_a_tenants_own_word_counts_and_an_opt_out_always_wins(turn: int) -> None:
    own = Words(
        [
            *[("Chega, né!", "stop"), ("chega né", "resume"), ("cancelar", "resume")],
            *[("quero sair", "resume"), ("Bora!", "resume"), ("start", "stop")],
        ][::turn]
    )

    for text in ("chega né", "CANCELAR", "quero sair", "start"):
        assert own.consent_of([text]) == "stop"
    assert own.consent_of(["bora"]) == "resume"
    assert built_in().consent_of(["chega né"]) is None


def test_of_title_and_payload_the_opt_out_counts() -> None:
    assert built_in().consent_of(["Start", "STOP"]) == "stop"


@given(st.sampled_from(STOPS + RESUMES), st.lists(st.sampled_from(sorted(POLITE)), max_size=2), st.data())
def test_case_accents_punctuation_and_polite_words_change_nothing(
    phrase: str, polite: list[str], data: st.DataObject
) -> None:
    words = built_in()
    meant = words.consent_of([phrase])
    spelled = "".join(data.draw(st.sampled_from([c.upper(), c])) for c in phrase)
    end = data.draw(st.sampled_from(["", "!", "...", " 🙏", "\u200b"]))
    dressed = f"  {spelled}{end} "

    assert meant in ("stop", "resume")
    assert words.consent_of([dressed]) == meant
    assert words.consent_of([f"por favor {dressed}"]) == meant


@given(st.text(max_size=200))
def test_any_text_is_read_and_normalising_again_changes_nothing(text: str) -> None:
    assert built_in().consent_of([text]) in ("stop", "resume", "perhaps", None)
    assert normalised(normalised(text)) == normalised(text)
