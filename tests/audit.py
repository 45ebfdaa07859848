import hashlib
from contextlib import suppress

from nats.js.errors import NotFoundError


def audit(report, frozen):
    """Every sentence of a report whose quote does not stand in the frozen text at its offset; of a good one, none."""
    for claim in (claim for section in report["sections"] for claim in section["claims"]):
        for quote in claim["citations"] or [{"sha256": None, "start": 0, "quote": "?"}]:
            text = frozen.get(quote["sha256"], "")
            if hashlib.sha256(text.encode()).hexdigest() != quote["sha256"]:
                yield f"{claim['text']} (its source is not what was frozen)"
            elif text[quote["start"] :][: len(quote["quote"])] != quote["quote"]:
                yield f"{claim['text']} (it does not stand there)"


async def frozen_text(js, sha256):
    """A frozen text, put together from the stream EVIDENCE."""
    chunks = []
    with suppress(NotFoundError):
        while True:
            message = await js.get_last_msg("EVIDENCE", f"evidence.{sha256}.{len(chunks)}", direct=True)
            chunks.append(message.data)
    return b"".join(chunks).decode()
