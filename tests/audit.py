"""What an auditor needs to check a report: the report as JSON, and the frozen texts by their SHA-256."""

from collections.abc import Mapping
from hashlib import sha256


def audit(report: dict, frozen: Mapping[str, str]) -> list[str]:
    """Every sentence of a report whose quote does not stand in the frozen text, at its offset; of a good one, none."""
    wrong = [
        f"{sha}: not the text of this hash" for sha, text in frozen.items() if sha256(text.encode()).hexdigest() != sha
    ]
    for claim in [claim for section in report["sections"] for claim in section["claims"]]:
        for quote in claim["citations"] or [{"sha256": "", "quote": "?", "start": 0}]:
            text, start = frozen.get(quote["sha256"], ""), quote["start"]
            if text[start : start + len(quote["quote"])] != quote["quote"]:
                wrong.append(claim["text"])
    return wrong
