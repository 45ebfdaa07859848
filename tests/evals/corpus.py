"""Questions to the language reference inside this Python, through the product's own path, without a model."""

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from shared.domain.run import Run
from shared.runtime.memory import MemoryLog
from tests.dossier import Dossier, coordinating, performers, working
from tests.evals.figures import Expected, Figures, figures

QUESTIONS: Final = Path(__file__).parent / "questions.toml"
_WITHIN_S: Final = 60


class Question(Struct, frozen=True):
    """A question, and what its report should state."""

    q: str
    facts: tuple[str, ...]


def questions(file: Path = QUESTIONS) -> dict[str, Question]:
    """The questions by name."""
    return msgspec.convert(tomllib.loads(file.read_text()), dict[str, Question])


async def asked(asked: Mapping[str, Question], folder: Path, *, docs: Path | None = None) -> dict[str, Figures]:
    """What comes of each question; `folder` is for projection and index."""
    log = MemoryLog()
    async with coordinating(log, folder) as dossier, working(log, performers(log, docs, folder / "cache")):
        runs = await asyncio.gather(*(_answered(dossier, name, each.q) for name, each in asked.items()))
    return {
        name: figures(run, log.texts, Expected(facts=each.facts))
        for (name, each), run in zip(asked.items(), runs, strict=True)
    }


async def _answered(dossier: Dossier, name: str, q: str) -> Run:
    await dossier.ask(q, run_id=name, approval="auto")
    ended = await dossier.coordinator.wait_until(name, 0, lambda run: run.completed is not None, within_s=_WITHIN_S)
    assert ended, f"nobody knows {name}"
    return ended
