"""Pages made to hurt whoever reads them."""

import gzip
import time
from collections.abc import Callable
from typing import Final

from tests.fetcher.reading import SENTENCE, article
from tests.harness.site import Page, Raw, Send

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def links(count: int) -> Page:
    """Nothing but links, as many as 5 MB hold."""
    return Page("<html><body>" + "".join(f'<a href="/{n}">a{n}</a>' for n in range(count)) + "</body></html>")


def paragraphs(size: int) -> Page:
    """Nothing but starts of paragraphs, so many bytes of them."""
    return Page("<p>" * (size // 3))


def nested(depth: int) -> Page:
    """Elements within elements."""
    return Page("<html><body>" + "<div>" * depth + SENTENCE * 10 + "</body></html>")


def bomb(size: int) -> Page:
    """Zeros, packed a thousandfold."""
    return Page(gzip.compress(bytes(size), 9), headers={"Content-Encoding": "gzip"})


def named(charset: str) -> Page:
    """A page in what the header calls so."""
    return article()._replace(content_type=f"text/html; charset={charset}")


def raw(*parts: bytes) -> Raw:
    """These bytes and the end of the connection."""
    return Raw(lambda send: [send(part) for part in parts] and None)


def dripping(begin: bytes, drop: bytes, *, every_s: float = 0.05, times: int = 2_000) -> Raw:
    """A little, again and again, so that no pause is ever long."""

    def write(send: Send) -> None:
        send(begin)
        for _ in range(times):
            send(drop)
            time.sleep(every_s)

    return Raw(write)


def pdf(*lines: str, how: str = "", hidden: str = "", hidden_how: str = "", extra: str = "") -> bytes:
    """A PDF of one page: these lines, shown as the operators in `how` say, and one more; `extra` is in the trailer."""
    texts = [*((line, how) for line in lines), *([(hidden, hidden_how)] if hidden else [])]
    shown = "".join(
        f"q BT {how} /F1 12 Tf 72 {720 - 16 * at} Td ({text}) Tj ET Q\n" for at, (text, how) in enumerate(texts)
    )
    page = "/Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page {page} >>",
        f"<< /Length {len(shown)} >>\nstream\n{shown}endstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Title (Of tides) /CreationDate (D:20240305101112Z) >>",
    ]
    body, places = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R {extra}>>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}".encode("latin-1")


_LOCK: Final = (
    "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] /Encrypt << /Filter /Standard /V 1 "
    f"/R 2 /P -44 /O <{'5a' * 32}> /U <{'a5' * 32}> >> "
)


def as_pdf(data: bytes) -> Page:
    """Served as one."""
    return Page(data, "application/pdf")


LINES: Final = [f"The Moon raises the tide, and this is line {number} of the paper." for number in range(20)]
PDF: Final = pdf(*LINES)

PAGES: Final[dict[str, tuple[Callable[[], Page | Raw], str]]] = {
    "180,000 links": (lambda: links(180_000), "read or slow_to_read"),
    "5 MB of <p>": (lambda: paragraphs(5_000_000), "empty or slow_to_read"),
    "4.9 MB of text": (lambda: article(sentences=45_000), "read or slow_to_read"),
    "100,000 nested elements": (lambda: nested(100_000), "read or empty or damaged"),
    "a gzip bomb of 200 MB": (lambda: bomb(200_000_000), "too_large"),
    "6 MB that say so": (lambda: Page("x" * 6_000_000), "too_large"),
    "a slow body": (lambda: dripping(OK + b"Content-Length: 100000\r\n\r\n", b"<p>"), "timeout"),
    "slow headers": (lambda: dripping(OK, b"X-More: yes\r\n"), "timeout"),
    "headers without end": (lambda: dripping(OK, b"X-More: yes\r\n" * 1_000, every_s=0), "protocol"),
    "one endless header": (lambda: raw(OK + b"X: ", b"x" * 5_000_000), "protocol"),
    "1,000 headers": (lambda: raw(OK, b"X: y\r\n" * 1_000, b"Content-Length: 1\r\n\r\nx"), "headers"),
    "100 Continue for ever": (lambda: dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every_s=0.01), "timeout"),
    "shorter than it says": (lambda: raw(OK + b"Content-Length: 1000\r\n\r\n", b"<p>short"), "protocol"),
    "longer than it says": (lambda: raw(OK + b"Content-Length: 3\r\n\r\n", b"<p>" * 1_000), "empty"),
    "no HTTP at all": (lambda: raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
    "nothing at all": (lambda: raw(b""), "protocol"),
    "bad chunks": (lambda: raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
    "charset=idna": (lambda: named("idna"), "read"),
    "charset=punycode": (lambda: named("punycode"), "read"),
    "charset=base64": (lambda: named("base64"), "read"),
    "charset=undefined": (lambda: named("undefined"), "read"),
    "<meta charset=idna>": (lambda: article(head="<meta charset=idna>"), "read"),
    "<meta charset=punycode>": (lambda: article(head="<meta charset=punycode>"), "read"),
    "plain text in idna": (lambda: Page(SENTENCE, "text/plain; charset=idna"), "read"),
    "a Location that is no URL": (lambda: Page(status=302, headers={"Location": "http://[::1"}), "url_refused"),
    "a Content-Length of 5,000 digits": (
        lambda: raw(OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n"),
        "protocol",
    ),
    "a PDF": (lambda: as_pdf(PDF), "read"),
    "an encrypted PDF": (lambda: as_pdf(pdf(*LINES, extra=_LOCK)), "encrypted"),
    "a broken PDF": (lambda: as_pdf(PDF[:200]), "damaged"),
    "a PDF of noise": (lambda: as_pdf(b"%PDF-1.7\n" + bytes(range(256)) * 8_000), "damaged"),
}
"""By what it is: how to make it, and the code that it comes to."""
