"""Bodies as they arrive: encodings, caps, and what they cost in memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import FetchError, FetchErrorKind
from daemon.fetchers.body import Body

TEXT = b'[{"symbol": "ACME"}]' * 50
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)

ENCODED = {
    "": TEXT,
    "identity": TEXT,
    "gzip": gzip.compress(TEXT, mtime=0),
    "GZIP ": gzip.compress(TEXT, mtime=0),
    "deflate": zlib.compress(TEXT),
    "deflate without a header": RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush(),
}


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_body_in_any_pieces_is_decoded(name: str, step: int) -> None:
    body = Body(name.removesuffix(" without a header"), 10_000, "quote")
    wire = ENCODED[name]

    for start in range(0, len(wire), step):
        body.add(wire[start : start + step])

    assert body.finish() == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-gzip", "\x1b[31m"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(FetchError) as caught:
        Body(encoding, 1000, "quote")

    assert caught.value.kind is FetchErrorKind.TRANSPORT
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_a_body_may_fill_the_cap_and_not_exceed_it(encoding: str) -> None:
    wire = ENCODED[encoding]
    Body(encoding, len(TEXT), "quote").add(wire)
    short = Body(encoding, len(TEXT) - 1, "quote")

    with pytest.raises(FetchError) as caught:
        short.add(wire)

    assert caught.value.kind is FetchErrorKind.TOO_LARGE
    assert short.so_far == TEXT[:-1]


def test_the_wire_is_capped_even_where_nothing_unfolds() -> None:
    empty_block = b"\x00\x00\x00\xff\xff"
    body = Body("deflate", 1000, "quote")

    with pytest.raises(FetchError) as caught:
        body.add(b"\x78\x9c" + empty_block * 400)

    assert caught.value.kind is FetchErrorKind.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_a_compressed_body_that_ends_too_early_is_an_error(encoding: str, length: int) -> None:
    body = Body(encoding, 10_000, "quote")
    body.add(ENCODED[encoding][:length])

    with pytest.raises(FetchError) as caught:
        body.finish()

    assert caught.value.kind is FetchErrorKind.TRANSPORT


@pytest.mark.parametrize("wire", [b"<html>", gzip.compress(TEXT, mtime=0) * 2, gzip.compress(TEXT, mtime=0) + b"x"])
def test_a_body_that_is_no_single_gzip_member_is_an_error(wire: bytes) -> None:
    with pytest.raises(FetchError) as caught:
        Body("gzip", 10_000, "quote").add(wire)

    assert caught.value.kind is FetchErrorKind.TRANSPORT


def test_something_behind_the_end_is_an_error_also_when_it_comes_later() -> None:
    body = Body("gzip", 10_000, "quote")
    body.add(gzip.compress(TEXT, mtime=0))

    with pytest.raises(FetchError):
        body.add(b"x")


def test_a_bomb_takes_no_more_memory_than_the_cap() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    body = Body("gzip", 1 << 20, "quote")
    tracemalloc.start()

    with pytest.raises(FetchError) as caught:
        body.add(bomb)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind is FetchErrorKind.TOO_LARGE
    assert peak < 6 << 20


@given(st.sampled_from(["", "gzip", "deflate"]), st.lists(st.binary(max_size=50)))
def test_any_bytes_are_a_body_or_an_error(encoding: str, chunks: list[bytes]) -> None:
    body = Body(encoding, 100, "quote")

    try:
        for chunk in chunks:
            body.add(chunk)
        decoded = body.finish()
    except FetchError:
        return

    assert len(decoded) <= 100
