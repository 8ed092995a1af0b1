"""The fixed texts of a page, by language. A quiz adds its own: title, introduction, questions, thanks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.quiz_page import ConsentText, Language


@dataclass(frozen=True, slots=True)
class Texts:
    consent: ConsentText  # a change of its text needs a new id
    answered: str  # of the progress: {done} and {all}
    required: str
    optional: str
    contact: str
    contact_hint: str
    name: str
    phone: str
    phone_hint: str
    email: str
    send: str
    sending: str
    retrying: str  # {seconds}
    kept: str  # by the browser, until there is a connection
    waiting: str  # from an earlier visit
    sent: str
    lost: str
    failed: str
    missing: str
    rejected: str  # before the reason, which is in English
    thanks_title: str
    thanks: str
    closed_title: str
    closed: str
    back: str
    problems: Mapping[str, tuple[str, str]]  # by slug: title and text
    problem: tuple[str, str]  # any other


PORTUGUESE = Texts(
    consent=ConsentText(
        "quiz-page pt-BR 1",
        "Aceito receber mensagens pelo WhatsApp sobre este questionário. Posso cancelar a qualquer momento "
        "respondendo SAIR.",
    ),
    answered="{done} de {all} respondidas",
    required="obrigatória",
    optional="opcional",
    contact="Seus dados",
    contact_hint="Preencha se quiser que entremos em contato.",
    name="Nome",
    phone="Celular com DDD",
    phone_hint="Por exemplo (47) 98921-1984. De fora do Brasil, comece com + e o código do país.",
    email="E-mail",
    send="Enviar respostas",
    sending="Enviando suas respostas…",
    retrying="Sem conexão com o servidor. Nova tentativa em {seconds} s; não feche a página.",
    kept="Sem conexão com o servidor. Suas respostas estão guardadas neste aparelho: deixe a página aberta, "
    "ou abra-a de novo mais tarde, e elas serão enviadas.",
    waiting="Respostas da sua última visita estão guardadas neste aparelho e serão enviadas agora.",
    sent="As respostas da sua última visita foram enviadas.",
    lost="As respostas da sua última visita não foram aceitas. Responda de novo, por favor.",
    failed="Não foi possível enviar. Suas respostas continuam aqui: tente de novo em alguns minutos.",
    missing="Falta responder o que está marcado.",
    rejected="Um dado não foi aceito. Confira o campo marcado.",
    thanks_title="Respostas enviadas",
    thanks="Obrigado por participar. Você já pode fechar esta página.",
    closed_title="Este questionário está encerrado",
    closed="Ele não recebe mais respostas. Obrigado pelo interesse.",
    back="Voltar ao questionário",
    problems={
        "unknown-quiz": (
            "Questionário não encontrado",
            "Confira o endereço: ele pode ter sido digitado pela metade, ou o questionário não existe mais.",
        ),
        "closed-quiz": (
            "Este questionário está encerrado",
            "Ele não recebe mais respostas. Obrigado pelo interesse.",
        ),
        "rate-limited": (
            "Muitos acessos deste endereço",
            "Espere um minuto e carregue a página de novo.",
        ),
        "blocked": (
            "O acesso por esta rede está suspenso por um tempo",
            "Tente de novo mais tarde ou por outra rede. Se o problema continuar, avise quem enviou o link.",
        ),
        "challenged": (
            "Muitas respostas vêm desta rede",
            "Volte e envie de novo em alguns minutos, ou com JavaScript ativado.",
        ),
        "page-unavailable": (
            "A página está indisponível",
            "O problema é nosso e deve durar pouco. Carregue a página de novo em um minuto.",
        ),
        "invalid-phone": (
            "O celular não é válido",
            "Volte e confira o número, com DDD. De fora do Brasil, comece com + e o código do país.",
        ),
        "invalid-email": ("O e-mail não é válido", "Volte e confira o endereço."),
        "missing-answer": (
            "Falta uma resposta",
            "Volte e responda todas as perguntas marcadas como obrigatórias.",
        ),
        "not-found": ("Página não encontrada", "Confira o endereço: uma parte dele pode estar faltando."),
    },
    problem=(
        "Não foi possível receber suas respostas",
        "Volte, confira o que preencheu e envie de novo em um minuto.",
    ),
)

ENGLISH = Texts(
    consent=ConsentText(
        "quiz-page en 1",
        "I agree to receive WhatsApp messages about this quiz. I can opt out at any time by replying STOP.",
    ),
    answered="{done} of {all} answered",
    required="required",
    optional="optional",
    contact="Your details",
    contact_hint="Fill this in if you would like to hear from us.",
    name="Name",
    phone="Mobile number",
    phone_hint="With + and the country code, such as +55 47 98921-1984.",
    email="E-mail",
    send="Send answers",
    sending="Sending your answers…",
    retrying="No connection to the server. Next attempt in {seconds} s; please keep the page open.",
    kept="No connection to the server. Your answers are kept on this device: leave the page open, "
    "or open it again later, and they will be sent.",
    waiting="Answers of your last visit are kept on this device and will be sent now.",
    sent="The answers of your last visit were sent.",
    lost="The answers of your last visit were not accepted. Please answer again.",
    failed="Your answers could not be sent. They are still here: please retry in a few minutes.",
    missing="Please answer what is marked.",
    rejected="One entry was not accepted. Please check the marked field.",
    thanks_title="Your answers were sent",
    thanks="Thank you for taking part. You may close this page now.",
    closed_title="This quiz is closed",
    closed="It no longer accepts answers. Thank you for your interest.",
    back="Back to the quiz",
    problems={
        "unknown-quiz": (
            "There is no such quiz",
            "Please check the address: a part of it may be missing, or the quiz no longer exists.",
        ),
        "closed-quiz": (
            "This quiz is closed",
            "It no longer accepts answers. Thank you for your interest.",
        ),
        "rate-limited": (
            "Too many visits from this address",
            "Please wait a minute and load the page again.",
        ),
        "blocked": (
            "Access from this network is suspended for a time",
            "Please try again later or from another network. If it lasts, tell whoever sent you the link.",
        ),
        "challenged": (
            "Many answers come from this network",
            "Please return and send them again in a few minutes, or with JavaScript turned on.",
        ),
        "page-unavailable": (
            "The page is unavailable",
            "The fault is on our side and should not last. Please load the page again in a minute.",
        ),
        "invalid-phone": (
            "The mobile number is not valid",
            "Please return and check the number, with + and the country code.",
        ),
        "invalid-email": ("The e-mail address is not valid", "Please return and check the address."),
        "missing-answer": (
            "An answer is missing",
            "Please return and answer all questions that are marked as required.",
        ),
        "not-found": ("There is no such page", "Please check the address: a part of it may be missing."),
    },
    problem=(
        "Your answers could not be accepted",
        "Please return, check your entries and send them again in a minute.",
    ),
)

BY_LANGUAGE: Mapping[Language, Texts] = {"pt-BR": PORTUGUESE, "en": ENGLISH}


def language_of(accept_language: str, default: Language = "pt-BR") -> Language:
    """Return the first language of the header that there is."""
    for part in accept_language.split(",")[:16]:
        tag = part.partition(";")[0].strip().lower()
        if tag.startswith("pt"):
            return "pt-BR"
        if tag.startswith("en"):
            return "en"
    return default
