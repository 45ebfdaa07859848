"""`make evals`: replay the recorded runs, ask the corpus, print one table, and hold it against the last one kept.

Ends with 1 where anything is wrong, or worse than was kept.
"""

import argparse
import asyncio
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from rich.console import Console

from services.cli.commands import case
from services.cli.commands.case import Recording
from tests.evals.comparison import worse, wrong
from tests.evals.corpus import QUESTIONS, Question, asked, questions
from tests.evals.figures import Expected, Figures
from tests.evals.replay import expected_of, replayed
from tests.evals.table import table

HERE: Final = Path(__file__).parent
CASES: Final = HERE / "cases"
KEPT: Final = HERE / "kept.json"
_WIDE: Final = 200


class Kept(Struct, frozen=True):
    """The last figures that were kept. What Python's documentation says depends on its version."""

    cases: dict[str, Figures] = {}
    questions: dict[str, dict[str, Figures]] = {}

    @classmethod
    def read(cls, file: Path) -> "Kept":
        """What the file says; nothing where there is none."""
        return msgspec.json.decode(file.read_bytes(), type=cls) if file.exists() else cls()

    def of(self, version: str) -> dict[str, Figures]:
        """What was kept for this version of Python."""
        return self.cases | self.questions.get(version, {})


class Measured(Struct, frozen=True):
    """What came of the cases and of the questions, and what must come of each."""

    cases: dict[str, Figures]
    questions: dict[str, Figures]
    expected: dict[str, Expected]

    @property
    def all(self) -> dict[str, Figures]:
        """All of it."""
        return self.cases | self.questions

    def complaints(self, kept: Mapping[str, Figures], names: Iterable[str]) -> Iterator[str]:
        """Each case with what is wrong or worse with it; of those with `names` also that they are gone."""
        for name, now in self.all.items():
            yield from (f"{name}: {what}" for what in wrong(now, self.expected[name]))
            if name in kept:
                yield from (f"{name}: {what}" for what in worse(now, kept[name]))
        yield from (f"{name}: is kept, and not there any more" for name in names if name not in self.all)


def recordings(folder: Path, names: Sequence[str]) -> dict[str, Recording]:
    """The cases in a folder; of those with `names`, or all."""
    found = {file.parent.name: file.parent for file in sorted(folder.glob(f"*/{case.CASE}"))}
    return {name: case.read(place) for name, place in found.items() if not names or name in names}


async def measured(
    cases: Mapping[str, Recording], corpus: Mapping[str, Question], *, docs: Path | None = None
) -> Measured:
    """What comes of these recorded runs today, and of these questions to Python's documentation, or to other `docs`."""
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, recording in cases.items():
            figures[name] = await replayed(recording, Path(folder), name=name)
        answers = await asked(corpus, Path(folder), docs=docs) if corpus else {}
    expected = {name: expected_of(recording.case) for name, recording in cases.items()}
    return Measured(figures, answers, expected | {name: Expected(facts=each.facts) for name, each in corpus.items()})


def keep(file: Path, kept: Kept, found: Measured, version: str, *, whole: bool) -> None:
    """Write down these figures; where they are of all there is, as the only ones."""
    cases = found.cases if whole else kept.cases | found.cases
    mine = found.questions if whole else kept.questions.get(version, {}) | found.questions
    made = Kept(cases, {**kept.questions, version: mine})
    file.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, tell, and perhaps keep; how it ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.evals", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE", help="only these cases and questions")
    parser.add_argument("--keep", action="store_true", help="these are the figures that the next ones are held against")
    parser.add_argument("--cases", type=Path, default=CASES, metavar="FOLDER", help="recorded runs")
    parser.add_argument("--questions", type=Path, default=QUESTIONS, metavar="FILE")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="ask these documents, not Python's own")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FILE", help="the figures that were kept")
    told = parser.parse_args(arguments)
    version = ".".join(platform.python_version_tuple()[:2])
    corpus = {name: each for name, each in questions(told.questions).items() if not told.names or name in told.names}
    found = asyncio.run(measured(recordings(told.cases, told.names), corpus, docs=told.docs))
    kept = Kept.read(told.kept)
    before = kept.of(version)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table(found.all, before))
    if told.keep:
        keep(told.kept, kept, found, version, whole=not told.names)
        before = {}
    complaints = list(found.complaints(before, told.names or before))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
