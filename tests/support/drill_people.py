"""People who answer a quiz and get a message each: what a drill is about."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ops.audit.ledger_audit import Report
from tests.support.running_pipeline import Pipeline

TENANT = "demo-personalidade"
QUIZ = "exercicio"
CAMPAIGN = """
campaign_id: {name}
tenant_id: demo-personalidade
name: Todos
quiz_ids: [exercicio]
conditions: [{{field: answers.cor, op: eq, values: [{colour}]}}]
message: {{kind: template, template: obrigado, language: pt_BR}}
"""
# What replaying, rebuilding or restoring must not change.
COUNTED = (
    *("accepted", "archived", "limited", "unmatched", "matched", "matches", "duplicates", "deliveries"),
    *("sent", "ambiguous", "failed", "dead"),
)


@dataclass
class Drill:
    pipeline: Pipeline
    folder: Path
    asked: int = 0

    def campaign(self, name: str, colour: str) -> str:
        """A campaign for whoever says this colour; returns once it is in force."""
        path = self.folder / f"{name}.yaml"
        path.write_text(CAMPAIGN.format(name=name, colour=colour))
        saved = self.pipeline.quizstream("campaign", "save", str(path), "--json")
        assert saved.returncode == 0, saved.stderr
        effective_at_ms = msgspec.json.decode(saved.stdout)[0]["effective_at"]
        time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))
        return name

    def answer(self, count: int, colour: str = "azul", rate_per_s: int | None = None) -> Path:
        """New people answer, each of whom was never heard of."""
        path = self.table(count, colour)
        rate = () if rate_per_s is None else ("--rate", str(rate_per_s))
        done = self.pipeline.quizstream("replay", str(path), *self.options(), *rate)
        assert done.returncode == 0, done.stderr
        return path

    def again(self, path: Path) -> None:
        """The same people hand in the same once more."""
        done = self.pipeline.quizstream("replay", str(path), *self.options())
        assert done.returncode == 0, done.stderr

    def settled(self) -> Report:
        report = self.pipeline.settled()
        assert report.ok, report.breaches
        return report

    def table(self, count: int, colour: str = "azul") -> Path:
        """New people, who have not answered yet."""
        self.asked += 1
        path = self.folder / f"pessoas-{self.asked}.csv"
        start = 98_000_0000 + self.asked * 10_000
        rows = (f"{colour},+5511{start + number}" for number in range(count))
        path.write_text("cor,telefone\n" + "\n".join(rows) + ("\n" if count else ""))
        return path

    @staticmethod
    def options() -> tuple[str, ...]:
        """Of every replay of such a table."""
        return ("--quiz", QUIZ, "--tenant", TENANT, "--contact-column", "telefone")


def drill(pipeline: Pipeline) -> Drill:
    folder = pipeline.found.settings.home / "drill"
    folder.mkdir()
    made = Drill(pipeline, folder)
    made.answer(0)  # makes the quiz
    made.campaign("todos-azul", "azul")
    return made
