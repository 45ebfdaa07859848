"""Reads the log of a story, and the journals of those who were there, and says which promises were broken.

What is judged here is read anew from subjects and JSON, so that a mistake in the product's fold cannot hide itself.
What the log alone shows, whatever made it, `tests.chaos.checker` judges: boxes, order, digests, ends, answers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from shared.contracts.messages import Message
from shared.runtime.memory import MemoryLog
from tests.chaos import checker, deadlines
from tests.chaos.stored import Stored
from tests.simulation.book import CONTRACT, asked_in
from tests.simulation.journal import Answer, Journal
from tests.simulation.loop import BEGAN
from tests.simulation.work import UNNAMED, Begun

Json = dict[str, Any]
_INSTANT_S: Final = 1e-5
"""Times are rounded."""
_WORD: Final = {
    "decision.approved.v1": "approved",
    "decision.rejected.v1": "rejected",
    "decision.revised.v1": "sent back",
    "decision.expired.v1": "expired",
}


class Fact(Struct, frozen=True):
    """One message as it is read here."""

    seq: int
    at: datetime
    subject: str
    type: str
    data: Json


def broken(log: MemoryLog, journal: Journal, begun: Sequence[Begun]) -> list[str]:
    """Every promise that was broken, in words."""
    told = [message for message in log.messages if message.data not in journal.forged]
    story = _Story(told, journal, log.texts)
    return [*_seen_by_anybody(told, journal, log.texts), *story.wrong(), *_done_again(story, begun)]


def _seen_by_anybody(told: Sequence[Message], journal: Journal, texts: Mapping[str, str]) -> list[str]:
    log = [_stored(message) for message in told]
    asked = {message.seq: it for message in told if (it := asked_in(message)) and message.data not in journal.malformed}
    owed = {it.run for seq, it in asked.items() if seq in journal.acknowledged}
    completions = [message for message in log if message.subject.endswith(".completed")]
    _, found = checker.check(
        [message.whole(texts) for message in log],
        completions,
        acknowledged=sorted(owed),
        named={seq: it.run for seq, it in asked.items()},
    )
    return [
        *(f"Run {run} was acknowledged and is lost." for run in found.lost),
        *(f"This was completed twice: {what}." for what in found.completed_twice),
        *(f"This box was filled twice: {what}." for what in found.outcomes_twice + found.decisions_twice),
        *found.wrong,
    ]


class _Story:
    """A log taken apart."""

    def __init__(self, told: Sequence[Message], journal: Journal, texts: Mapping[str, str]) -> None:
        self._journal = journal
        self._texts = texts
        self.messages = {message.seq: message for message in told}
        self.runs: dict[str, dict[str, Fact]] = {}
        self.refusals: dict[int, Fact] = {}
        self.words: dict[int, tuple[Message, Json]] = {}
        for message in told:
            self._place(message)

    def _place(self, message: Message) -> None:
        subject = message.subject
        if subject.startswith("research.run."):
            _, _, run, slot = subject.split(".", 3)
            event = _event(message)
            data = _stored(message).whole(self._texts).fact if event else {}
            fact = Fact(message.seq, message.time, subject, event.get("type", ""), data)
            self.runs.setdefault(run, {}).setdefault(slot, fact)
        elif subject.startswith("research.invalid."):
            event = _event(message)
            seq = int(subject.rsplit(".", 1)[1])
            self.refusals[seq] = Fact(message.seq, message.time, subject, event["type"], event["data"])
        elif subject in CONTRACT[1:] and message.data not in self._journal.malformed:
            self.words[message.seq] = message, json.loads(message.data)

    def wrong(self) -> Iterable[str]:
        """What is wrong with it."""
        for run, slots in self.runs.items():
            yield from _attempts(run, slots)
            yield from _excluded(run, slots)
            yield from self._decisions(run, slots)
        for seq, refusal in self.refusals.items():
            if text := self._misjudged(self.messages[seq], refusal):
                yield f"The message at {seq} was refused as {refusal.data['error']['code']}, and {text}."
        for answer in self._journal.answers:
            if text := self._mistold(answer):
                yield f"{answer.by} asked to {answer.verb} {answer.run}, was told {answer.code or 'done'}, and {text}."

    # Decisions

    def _decisions(self, run: str, slots: Mapping[str, Fact]) -> Iterable[str]:
        for slot, decision in slots.items():
            if slot.startswith("decision."):
                hold = slots.get(slot.replace("decision", "hold"))
                yield from self._fair(run, slot, decision, hold)

    def _fair(self, run: str, slot: str, decision: Fact, hold: Fact | None) -> Iterable[str]:
        """The winner had the right to win, and nobody was before."""
        number = int(slot.rsplit(".", 1)[1])
        took = decision.data.get("message_seq")
        if took and hold and self.messages[took].time >= self._deadline(run, hold):
            yield f"{run}.{slot} took the message at {took}, which came too late"
        if took and number > 1 and (hold is None or took < hold.seq):
            yield f"{run}.{slot} took the message at {took}, which came before there was anything to decide on"
        if decision.data["via"] == "deadline" and (hold is None or decision.at < self._deadline(run, hold)):
            yield f"{run}.{slot} expired before its time"
        for seq, (message, word) in self.words.items():
            if word["run_id"] == run and self._was_passed_over(seq, message, decision, hold, number):
                winner = f"{decision.type} by {decision.data['by']}"
                yield f"{run}.{slot} is {winner}, and the word at {seq} came in time and before"

    def _was_passed_over(self, seq: int, message: Message, decision: Fact, hold: Fact | None, number: int) -> bool:
        """Whether this word could have decided, came first, and was told that it lost."""
        took, refusal = decision.data.get("message_seq"), self.refusals.get(seq)
        if refusal is None or message.subject not in CONTRACT[1:3]:
            return False
        by_order = took is not None or decision.data["via"] == "deadline"
        in_round = number == 1 or (hold is not None and seq > hold.seq)
        in_time = hold is None or message.time < self._deadline(decision.subject.split(".")[2], hold)
        lost = refusal.data["error"]["code"] in ("decided", "too_late", "not_held")
        return by_order and in_round and in_time and lost and seq < (took or decision.seq)

    def _misjudged(self, message: Message, refusal: Fact) -> str | None:
        """Why a refusal was wrong; `None` where it was right."""
        code, text = refusal.data["error"]["code"], refusal.data["error"]["message"]
        if message.data in self._journal.malformed:
            return None if code in ("invalid_field", "not_json", "unknown_run") else "it cannot be read at all"
        if message.subject == CONTRACT[0]:
            asked = asked_in(message)
            accepted = self.runs.get(asked.run, {}).get("accepted") if asked else None
            first = accepted and asked_in(self.messages[accepted.data["request_seq"]])
            return None if code == "clash" and first and first != asked else "it can be taken"
        _, word = self.words[message.seq]
        slots = self.runs.get(word["run_id"], {})
        return _unfounded(code, text, message, word, slots, before=refusal.seq)

    def _deadline(self, run: str, hold: Fact) -> datetime:
        return _deadline(hold, self.runs.get(run, {}))

    def _mistold(self, answer: Answer) -> str | None:
        """Why what a person was told over the API is not so."""
        slots = self.runs.get(answer.run, {})
        if answer.until and answer.code in ("", "not_later"):
            ends = [self._deadline(answer.run, fact) for slot, fact in slots.items() if slot.startswith("hold.")]
            is_so = any(end > answer.until if answer.code else end >= answer.until for end in ends)
            return None if is_so else f"its holds wait until {', '.join(map(str, ends))}"
        boxes = [fact for slot, fact in slots.items() if slot == "completed" or slot.startswith("decision.")]
        took = [fact for fact in boxes if fact.data.get("by") == answer.by]
        if not answer.code:
            return None if took else "no box says so"
        if took and answer.code != "decided":
            return "it was taken"
        if took:
            return None if answer.unheard else "it won"
        if (answer.code == "decided" or answer.winner) and not _names(answer.winner, boxes):
            return f"the winner is said to be {answer.winner!r}"
        if answer.code == "not_held" and _seconds(slots.get("hold.1")) < answer.asked_at:
            return None if any(fact.type == "decision.revised.v1" for fact in boxes) else "it was on hold"
        if answer.code == "too_late":
            ends = [self._deadline(answer.run, fact) for slot, fact in slots.items() if slot.startswith("hold.")]
            passed = any((end - BEGAN).total_seconds() <= answer.answered_at for end in ends)
            return None if passed else "it came in time"
        return None


def _seconds(fact: Fact | None) -> float:
    """When a box was filled, in seconds from the beginning; never, where it was not."""
    return (fact.at - BEGAN).total_seconds() if fact else float("inf")


def _unfounded(
    code: str, text: str, message: Message, word: Json, slots: Mapping[str, Fact], *, before: int
) -> str | None:
    accepted = slots.get("accepted")
    holds = [fact for slot, fact in slots.items() if slot.startswith("hold.") and fact.seq < before]
    boxes = [
        fact
        for slot, fact in slots.items()
        if (slot == "completed" or slot.startswith("decision.")) and fact.seq < before
    ]
    match code:
        case "unknown_run":
            return "the run was there before" if accepted and accepted.seq < message.seq else None
        case "decided":
            if not boxes:
                return "nothing was decided then"
            return None if _names(text, boxes) else f"it does not say who won: {text}"
        case "too_late":
            return None if any(message.time >= _deadline(hold, slots) for hold in holds) else "it came in time"
        case "stale_digest":
            digests = {hold.data["digest"] for hold in holds}
            return None if word.get("digest") and digests != {word["digest"]} else "its digest is right"
        case "not_held":
            sent_back = any(box.type == "decision.revised.v1" for box in boxes)
            return None if sent_back else "a word before the first hold counts"
        case "unknown_source" | "nothing_left":
            return None if word.get("exclude") else "it excludes nothing"
        case _:
            return "nobody knows that reason"


def _names(text: str, boxes: Sequence[Fact]) -> bool:
    """Whether a text says which of these boxes won, and who filled it."""
    return any(
        (box.data.get("outcome") or _WORD[box.type]) in text and (box.data.get("by") or "") in text
        for box in boxes
        if box.type in _WORD or box.data.get("outcome") in ("cancelled", "failed")
    )


# Work


def _attempts(run: str, slots: Mapping[str, Fact]) -> Iterable[str]:
    """Each attempt follows the failure of the one before, and each step what it builds on."""
    for slot, task in slots.items():
        if not slot.startswith("task."):
            continue
        _, kind, number, index, attempt = slot.split(".")
        if int(attempt) > 1:
            failed = slots.get(f"attempt.{kind}.{number}.{index}.{int(attempt) - 1}")
            if failed is None or failed.seq > task.seq:
                yield f"{run}.{slot} was asked for, and the attempt before had not failed"
        if not _is_due(kind, int(number), int(index), task, slots):
            yield f"{run}.{slot} was asked for before it could be known to be wanted"


def _is_due(kind: str, number: int, index: int, task: Fact, slots: Mapping[str, Fact]) -> bool:
    def there(slot: str, type_: str) -> bool:
        fact = slots.get(slot)
        return fact is not None and fact.seq < task.seq and fact.type == type_

    if kind == "fetch":
        plan = slots.get(f"plan.{number}")
        return there(f"plan.{number}", "plan.made.v1") and plan is not None and index < len(plan.data["queries"])
    if kind == "synthesize":
        held = there(f"hold.{number}", "hold.opened.v1")
        return index == 0 and held and there(f"decision.{number}", "decision.approved.v1")
    if number > 1 and not there(f"decision.{number - 1}", "decision.revised.v1"):
        return False
    return index == 0 and there("accepted", "run.accepted.v1")


def _excluded(run: str, slots: Mapping[str, Fact]) -> Iterable[str]:
    """What a reviewer excluded is in no later task and in no report; nothing else than was found is."""
    found = {each["sha256"] for slot, fact in slots.items() if slot[:6] == "fetch." for each in _sources(fact.data)}
    for slot, fact in slots.items():
        if slot.startswith("task.synthesize"):
            used = {each["sha256"] for finding in fact.data["task"]["findings"] for each in finding.get("sources", ())}
        elif slot == "completed" and fact.data["outcome"] == "reported":
            used = {each["sha256"] for each in _sources(fact.data)}
        else:
            continue
        excluded = {
            sha256
            for name, decision in slots.items()
            if name.startswith("decision.") and decision.seq < fact.seq
            for sha256 in decision.data.get("exclude", ())
        }
        if used & excluded:
            yield f"{run}.{slot} uses a source that was excluded"
        if used - found:
            yield f"{run}.{slot} uses a source that was never found"


def _done_again(story: _Story, begun: Sequence[Begun]) -> Iterable[str]:
    """Nothing was begun of which whoever began it could know that it was done."""
    done: dict[tuple[str, str], Fact] = {}
    for slots in story.runs.values():
        for slot, fact in slots.items():
            for key in _outcome_of(slot, fact, slots):
                done[key] = fact
    for one in begun:
        outcome = done.get((one.kind, one.about))
        if outcome and UNNAMED not in one.about and (outcome.at - BEGAN).total_seconds() < one.known_at - _INSTANT_S:
            yield f"At {one.at:.3f} s {one.host.name} began {outcome.subject}, which was recorded at {outcome.seq}"


def _outcome_of(slot: str, fact: Fact, slots: Mapping[str, Fact]) -> Iterable[tuple[str, str]]:
    """The work that this is the outcome of, as its worker knows it."""
    box, _, rest = slot.partition(".")
    if box == "plan":
        yield "plan", f"{slots['accepted'].data['q']}|{rest}"
    elif box == "fetch":
        number, index = rest.split(".")
        yield "fetch", f"{slots['accepted'].data['q']}|{number}|{index}"
    elif box == "synthesis" and (hold := slots.get(f"hold.{rest}")):
        yield "synthesize", hold.data["digest"]


def _sources(data: Json) -> Sequence[Json]:
    return data.get("sources", ())


def _deadline(hold: Fact, slots: Mapping[str, Fact]) -> datetime:
    """Until when a hold waits, as it was extended."""
    number = hold.subject.rsplit(".", 1)[1]
    given = (fact for slot, fact in slots.items() if slot.startswith(f"extension.{number}."))
    return deadlines.waits_until(hold.data, ((fact.seq, fact.at, fact.data) for fact in given))


def _stored(message: Message) -> Stored:
    return Stored(message.subject, message.seq, message.time, message.data)


def _event(message: Message) -> Json:
    try:
        return json.loads(message.data)
    except ValueError:
        return {}
