"""Packed bytes are unpacked in small steps, whole, and never into more than is allowed."""

import gzip
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fetcher.web.body import Body
from shared.errors import Terminal, Transient


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def members(data: bytes) -> bytes:
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


PACKED = {
    "identity": bytes,
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": bare,
    "gzip, in two members": members,
}


def unpacked(encoding: str, packed: bytes, *, step: int, at_most: int = 1_000_000) -> bytes:
    body = Body(encoding.partition(",")[0], at_most=at_most)
    for start in range(0, len(packed), step):
        body.add(packed[start : start + step])
    return body.finish()


@pytest.mark.parametrize("name", PACKED)
@given(data=st.binary(max_size=200) | st.integers(0, 300_000).map(bytes), step=st.integers(1, 5_000))
@settings(deadline=None, max_examples=50)
def test_what_was_packed_comes_out_whole_however_it_comes_in(name: str, data: bytes, step: int):
    packed = PACKED[name](data)
    assert unpacked(name, packed, step=len(packed) if "members" in name else max(step, len(packed) // 200)) == data


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_a_bomb_is_put_out_before_it_goes_off(name: str):
    packed = PACKED[name](bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(Terminal) as caught:
        unpacked(name, packed, step=len(packed), at_most=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "too_large"
    assert peak < 3_000_000


@pytest.mark.parametrize("name", ["gzip", "deflate", " deflate "])
def test_packed_bytes_that_end_too_soon_are_not_taken_for_all(name: str):
    packed = PACKED[name](bytes(range(256)) * 100)
    with pytest.raises(Transient) as caught:
        unpacked(name, packed[:-5], step=100)
    assert caught.value.code == "cut_off"


@settings(deadline=None)
@given(noise=st.binary(min_size=1, max_size=300), step=st.integers(1, 50), name=st.sampled_from(["gzip", "deflate"]))
def test_noise_is_a_fault_of_the_page_and_nothing_else(noise: bytes, step: int, name: str):
    with suppress(Transient):
        unpacked(name, noise, step=step)


def test_an_encoding_that_is_not_taken_is_refused_by_name():
    with pytest.raises(Terminal, match="'br'") as caught:
        Body("br", at_most=1)
    assert caught.value.code == "encoding"
