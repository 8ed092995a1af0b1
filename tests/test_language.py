"""Documents, help texts, metrics, alerts, logs and errors use the words of docs/glossary.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS = ("schemas", "pipeline", "ingest_api", "sinks", "ops", "benchmarks")
DOCUMENTS = [
    CHECKOUT / "README.md",
    CHECKOUT / "CHANGELOG.md",
    CHECKOUT / "ARCHITECTURE.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]

# Word or phrase that is not written -> what to write instead.
WORDS = {
    r"tells?|told|telling": "returns, reports, shows",
    r"says?|said|saying": "states, contains, shows",
    r"asks?|asked|asking": "reads, requests, queries",
    r"hears?|heard": "receives",
    r"knows?|knew": "has, reads",
    r"wants?|wanted": "requires",
    r"goes on|go on|went on": "continues",
    r"anew": "again",
    r"nobody|somebody|anybody|everybody|whoever|whatever|whose turn": "a noun: no process, every client",
    r"(?:is|are|was|were|be) away": "is unavailable",
    r"(?<!there )(?:is|are|was) no (?!longer\b)[a-z]+": "is not a ...",
    r"in hand|under way": "in flight",
    r"(?:closing |close |closed )?(?:the )?books": "ledger audit",
    r"evidence": "ledger audit",
    r"refus(?:e|es|ed|al|als|ing)": "rejects; or: dead letter",
    r"not to be had": "unsupported",
    r"upkeep": "maintenance",
    r"straight": "fast path, directly",
    r"desks?": "number worker",
    r"setbacks?": "retry",
    r"(?:try|tries|tried) (?:it )?again": "retry",
    r"where (?:it|they) stands?|how far behind": "committed offset, lag",
    r"isolat(?:e|es|ed)": "bisect",
    r"ours": "leased by this process",
    r"facts": "reference data",
    r"for ever|for good": "permanently, without limit",
    r"made up": "generated",
    r"does nothing the second time": "idempotent",
}
FORBIDDEN = re.compile("|".join(rf"(?P<w{i}>\b(?:{word})\b)" for i, word in enumerate(WORDS)), re.IGNORECASE)
# Terms of other systems and names that stay.
ALLOWED = re.compile(
    r"connection refused|econnrefused|handshake-refused"  # errors and slugs of interfaces
    r"|quizstream_\w+"  # exported metrics
    r"|facts\.\w+|facts:"  # topics and a key of topology.yaml
    r"|`[^`\n]*`"  # names of the code
    r"|https?://\S+",
    re.IGNORECASE,
)
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
METRICS = {"Counter", "Gauge", "Histogram"}
SHOWN_BY = METRICS | {"Alert", "Kind", "Panel", "Row", "print", "echo"}


@dataclass(frozen=True)
class Text:
    place: str
    text: str


def problems(texts: Iterator[Text]) -> list[str]:
    found = []
    for one in texts:
        for match in FORBIDDEN.finditer(ALLOWED.sub("", one.text)):
            instead = list(WORDS.values())[int((match.lastgroup or "w0")[1:])]
            found.append(f"{one.place}: {match[0]!r}, write: {instead}")
    return found


def of_document(path: Path) -> Iterator[Text]:
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            yield Text(f"{path.name}:{number}", line)


def of_source(name: str, source: str) -> Iterator[Text]:
    """Yield the module's docstring, help texts, and the strings of metrics, alerts, logs and errors."""
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree)
    if docstring is not None:
        yield Text(f"{name}:1", docstring)
    is_command = "/commands/" in name
    for node in ast.walk(tree):
        if is_command and isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            help_text = ast.get_docstring(node)
            if help_text is not None:
                yield Text(f"{name}:{node.lineno}", help_text)
        elif isinstance(node, ast.Raise):
            yield from _strings(name, node)
        elif isinstance(node, ast.Call):
            if _is_shown(node.func):
                yield from _strings(name, node)
            for keyword in node.keywords:
                if keyword.arg == "help":
                    yield from _strings(name, keyword.value)


def _is_shown(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in SHOWN_BY
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    owner_name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return function.attr in SHOWN_BY or (function.attr in LOG_METHODS and "log" in owner_name.lower())


def _strings(name: str, node: ast.AST) -> Iterator[Text]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield Text(f"{name}:{inner.lineno}", inner.value)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_the_words_of_the_glossary(path: Path) -> None:
    assert problems(of_document(path)) == []


@pytest.mark.parametrize("part", PARTS)
def test_texts_of_the_code_use_the_words_of_the_glossary(part: str) -> None:
    found = []
    for path in sorted((CHECKOUT / part).rglob("*.py")):
        name = str(path.relative_to(CHECKOUT))
        found += problems(of_source(name, path.read_text(encoding="utf-8")))
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        '"""Tells the sender."""',
        'log.warning("the broker is away")',
        'self._log.error("%s: nobody answers", 1)',
        'raise ValueError(f"{x} is no number")',
        'Counter("quizstream_x", "Records refused.")',
        'typer.Option(help="Ask again.")',
        'Alert("Name", "expr", 1, "warning", "setbacks", "try again")',
    ],
)
def test_a_forbidden_word_is_found(source: str) -> None:
    assert problems(of_source("ops/x.py", source)) != []


@pytest.mark.parametrize(
    "source",
    [
        '"""Returns known offsets: connection refused is an error, and `facts` a key."""',
        'Counter("quizstream_edge_refused_total", "Requests rejected.")',
        "x = 'whatever is not shown'",
    ],
)
def test_terms_that_stay_are_not_found(source: str) -> None:
    assert problems(of_source("ops/x.py", source)) == []
