"""Names of charsets and other headers of pages: none of them raises anything that is no fault of the page."""

import encodings
import pkgutil
from contextlib import suppress

import pytest
from httpx2 import URL
from hypothesis import example, given
from hypothesis import strategies as st

from services.fetcher.sandbox.charset import _CODECS, decode_page
from services.fetcher.web import kinds, urls
from services.fetcher.web.body import Body
from shared.errors import StepError

SPECIAL = ["idna", "punycode", "base64", "hex", "rot13", "zlib", "bz2", "uu", "quopri", "undefined", "mbcs", "oem"]
SPECIAL += ["unicode_escape", "raw_unicode_escape", "unicode_internal", "utf_7", "charmap", "palmos", "aliases"]
EVERY = sorted({*SPECIAL, *(module.name for module in pkgutil.iter_modules(encodings.__path__))})
NAMES = st.one_of(st.sampled_from(EVERY), st.text(), st.text("idna-_.:8", max_size=9))
DATA = st.one_of(
    st.binary(), st.text().map(str.encode), st.sampled_from([b"xn--a", b"\\u12", b"\\N{", b"\xff\xfe\x00"])
)


@given(DATA, NAMES)
@example(b"\xff", "idna")
@example(b"xn--\xff", "punycode")
def test_any_bytes_are_text_whatever_charset_the_header_names(data: bytes, name: str):
    assert isinstance(decode_page(data, name), str)


@given(DATA, NAMES)
@example(b"\xff", "idna")
def test_any_bytes_are_text_whatever_charset_the_page_names(data: bytes, name: str):
    assert isinstance(decode_page(b"<meta charset=" + name.encode("utf-8", "replace") + b">" + data), str)


@pytest.mark.parametrize("codec", sorted(_CODECS))
def test_each_codec_in_use_takes_any_bytes(codec: str):
    assert isinstance(bytes(range(256)).decode(codec, "replace"), str)


@pytest.mark.parametrize("name", SPECIAL)
def test_a_codec_that_is_no_encoding_of_pages_is_not_used(name: str):
    text = "+AGE- \\u0061 Gezeitenstr\u00f6me xn--a MTIz"
    assert decode_page(text.encode(), name) == text
    page = f"<meta charset={name}>{text}"
    assert decode_page(page.encode()) == page


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("iso-8859-1", "cp1252"),
        ("us-ascii", "cp1252"),
        ("ISO_8859-2", "iso8859-2"),
        ("windows-1251", "cp1251"),
        ("KOI8-R", "koi8-r"),
        ("Shift_JIS", "shift_jis"),
        ("EUC-JP", "euc_jp"),
        ("iso-2022-jp", "iso2022_jp"),
        ("GB18030", "gb18030"),
        ("big5", "big5"),
        ("ks_c_5601-1987", "euc_kr"),
        ("macintosh", "mac_roman"),
        ("utf-16le", "utf-16-le"),
    ],
)
def test_the_charsets_of_the_web_are_read(name: str, codec: str):
    words = {"big5": "\u6f6e\u6c50", "gb18030": "\u6f6e\u6c50", "euc_kr": "\ubc00\ubb3c"}.get(codec, "tides")
    assert decode_page(words.encode(codec), name) == words


@given(st.text())
@example("text/html; charset=idna")
@example("a" * 100_000 + "/" + "b" * 100_000)
def test_a_content_type_is_a_kind_or_a_fault(content_type: str):
    assert isinstance(kinds.charset(content_type), str)
    with suppress(StepError):
        kinds.detect_kind(content_type, b"words")


@given(st.text(), st.binary())
def test_a_content_encoding_is_unpacked_or_a_fault(encoding: str, data: bytes):
    with suppress(StepError):
        body = Body(encoding, at_most=1_000)
        body.add(data)
        body.finish()


@given(st.one_of(st.text(), st.text("htp:/[]@%.-xn0a8?#\\").map("http://{}".format)))
@example("http://xn--a/")
@example("http://[::1")
@example("//h:99999999999999999999/")
def test_a_location_is_a_url_or_a_fault(location: str):
    with suppress(StepError):
        url = urls.parse_page_url(location, base=URL("http://example.org/a"))
        assert urls.origin_of(url)
        assert urls.port_of(url) >= 0
        assert url.host in str(url) or url.host
