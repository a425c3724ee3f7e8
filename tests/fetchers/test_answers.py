"""What statuses, headers and bodies of the upstream mean."""

from __future__ import annotations

import json

import pytest

from daemon.contracts import FetchError, FetchErrorKind
from daemon.fetchers import answers

KEY = "c4n4ry-Secret-0123456789"


def failure(status: int, text: str = "", **headers: str) -> answers.StatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answers.failure(status, named, text.encode(), about="quote symbol=ACME", secret=KEY)


def error_object(text: str) -> str:
    return json.dumps({"Error Message": text})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FetchErrorKind.BAD_REQUEST),
        (401, FetchErrorKind.UNAUTHORISED),
        (402, FetchErrorKind.PLAN),
        (403, FetchErrorKind.UNAUTHORISED),
        (404, FetchErrorKind.BAD_REQUEST),
        (429, FetchErrorKind.RATE_LIMITED),
        (500, FetchErrorKind.UPSTREAM_ERROR),
        (503, FetchErrorKind.UPSTREAM_ERROR),
        (599, FetchErrorKind.UPSTREAM_ERROR),
        (204, FetchErrorKind.UPSTREAM_ERROR),
        (304, FetchErrorKind.UPSTREAM_ERROR),
        (418, FetchErrorKind.UPSTREAM_ERROR),
        (999, FetchErrorKind.UPSTREAM_ERROR),
    ],
)
def test_a_status_has_a_kind(status: int, kind: FetchErrorKind) -> None:
    error = failure(status)

    assert error.kind is kind
    assert error.status == status
    assert str(error).startswith("quote symbol=ACME: ")


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "Limit Reach . Please upgrade your plan", FetchErrorKind.RATE_LIMITED),
        (200, "Too many requests", FetchErrorKind.RATE_LIMITED),
        (200, "Request limit exceeded", FetchErrorKind.RATE_LIMITED),
        (200, "Bandwidth Limit Reach . Please upgrade your plan", FetchErrorKind.BANDWIDTH_EXHAUSTED),
        (200, "Invalid API KEY. Feel free to create one", FetchErrorKind.UNAUTHORISED),
        (200, "Restricted Endpoint: not available under your current subscription", FetchErrorKind.PLAN),
        (200, "The values for 'limit' must be below 5 based on your current subscription", FetchErrorKind.PLAN),
        (200, "Something went wrong", FetchErrorKind.UPSTREAM_ERROR),
        (429, "Bandwidth Limit Reach", FetchErrorKind.BANDWIDTH_EXHAUSTED),
        (429, "Limit Reach . Please upgrade your plan", FetchErrorKind.RATE_LIMITED),
        (403, "Account suspended.", FetchErrorKind.UNAUTHORISED),
        (403, "Legacy Endpoint : only for legacy users who have valid subscriptions", FetchErrorKind.PLAN),
        (401, "Limit Reach", FetchErrorKind.UNAUTHORISED),
        (500, "Limit Reach", FetchErrorKind.UPSTREAM_ERROR),
    ],
)
def test_the_text_of_an_error_refines_its_kind(status: int, text: str, kind: FetchErrorKind) -> None:
    assert failure(status, error_object(text)).kind is kind
    assert failure(status, text).kind is kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"Error Message": "Limit Reach"}', "Limit Reach"),
        (b' \n{"a": 1, "Error Message": "x"}', "x"),
        (b'{"Error Message": 7}', None),
        (b'{"message": "x"}', None),
        (b'[{"Error Message": "x"}]', None),
        (b'{"a":' * 100_000, None),
        (b"Invalid name", None),
        (b"", None),
    ],
    ids=["error", "with more", "number", "other object", "array", "nesting", "text", "nothing"],
)
def test_an_error_object_is_recognised(body: bytes, text: str | None) -> None:
    assert answers.error_text(body) == text


SENT = "Wed, 04 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7),
        (" 7 ", None, 7),
        ("2.5", None, 2.5),
        ("0", None, 1),
        ("-5", None, 1),
        ("86400", None, 900),
        ("9" * 5000, None, 900),
        ("Wed, 04 Nov 2026 12:00:30 GMT", SENT, 30),
        ("Wednesday, 04-Nov-26 12:00:30 GMT", SENT, 30),
        ("Wed Nov  4 12:00:30 2026", SENT, 30),
        ("Wed, 04 Nov 2026 12:00:30 -0000", SENT, 30),
        ("Wed, 04 Nov 2026 11:00:00 GMT", SENT, 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", SENT, 900),
        ("Wed, 04 Nov 2026 12:00:30 GMT", None, None),
        ("Wed, 04 Nov 2026 12:00:30 GMT", "junk", None),
        ("Wed, 99 Nov 2026 12:00:30 GMT", SENT, None),
        ("soon", SENT, None),
        ("nan", SENT, None),
        ("inf", SENT, None),
        ("1e3", SENT, None),
        ("٣", SENT, None),
        ("", SENT, None),
        (None, SENT, None),
    ],
)
def test_retry_after_is_clamped_or_nothing(value: str | None, date: str | None, seconds: float | None) -> None:
    assert answers.retry_after_seconds(value, date) == seconds


def test_a_rate_limit_without_a_usable_retry_after_waits_a_minute() -> None:
    assert failure(429).retry_after_seconds == 60
    assert failure(429, Retry_After="junk").retry_after_seconds == 60
    assert failure(200, error_object("Limit Reach")).retry_after_seconds == 60


def test_other_errors_wait_only_where_they_are_told_to() -> None:
    assert failure(503).retry_after_seconds is None
    assert failure(503, Retry_After="120").retry_after_seconds == 120
    assert failure(429, "Bandwidth Limit Reach").retry_after_seconds is None


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://evil.example/path?token=abc", "evil.example"),
        ("/elsewhere?token=abc", "itself"),
        ("", "itself"),
        ("https://[broken/", "somewhere unreadable"),
        (f"https://{KEY}.evil.example/", "[key].evil.example"),
        (f"https://user:{KEY}@evil.example/", "evil.example"),
    ],
)
def test_a_redirect_is_refused_naming_the_host_alone(location: str, named: str) -> None:
    error = failure(302, Location=location)

    assert error.kind is FetchErrorKind.UPSTREAM_ERROR
    assert f"redirects to {named}: refused" in str(error)
    assert "abc" not in str(error)


def test_a_message_holds_256_characters_of_the_body_at_most() -> None:
    assert str(failure(500, "x" * 10_000)) == "quote symbol=ACME: 500 " + "x" * 256


def test_a_message_is_one_line_without_control_characters() -> None:
    message = str(failure(500, "a\r\nb\x1b[31mc\0d\u2028e\u202ef\x85g\x7fh"))

    assert message.isprintable()
    assert message.endswith("a b?[31mc?d e?f g?h")


@pytest.mark.parametrize("echo", [KEY, KEY.upper(), f"{'x' * 250}{KEY}", f"?apikey={KEY}&a=b"])
def test_a_message_never_holds_the_key(echo: str) -> None:
    for status in (200, 400, 401, 429, 500):
        for text in (echo, error_object(echo)):
            message = str(failure(status, text)).lower()

            assert KEY[:8].lower() not in message


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        ('W/"1bd-27charactersofbase64sha1aa"', True),
        ('"abc"', True),
        ("abc", False),
        ('"a\r\nb"', False),
        (f'"{"a" * 200}"', False),
        ('"é"', False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_well_formed_etag_is_kept(value: str | None, usable: bool) -> None:
    assert answers.usable_etag(value) == (value if usable else None)


@pytest.mark.parametrize(
    "etag",
    [
        'W/"2-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"',
        'W/"02-97d170e1550eee4afc0af065b78cda302a97674c"',
        'W/"65f1a2b3-1bd"',
        '"3-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"',
        None,
    ],
    ids=["base64", "hex", "of nginx", "strong", "none"],
)
def test_an_etag_that_does_not_contradict_the_body_is_no_error(etag: str | None) -> None:
    answers.check_length(etag, b"[]", "quote")


@pytest.mark.parametrize(
    "etag", ['W/"3-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"', 'W/"1-97d170e1550eee4afc0af065b78cda302a97674c"']
)
def test_a_body_of_another_length_than_its_etag_says_was_cut(etag: str) -> None:
    with pytest.raises(FetchError) as caught:
        answers.check_length(etag, b"[]", "quote symbol=ACME")

    assert caught.value.kind is FetchErrorKind.TRANSPORT


def test_a_description_names_endpoint_and_symbols_and_stays_short() -> None:
    assert answers.describe("quote", {"symbol": "ACME", "token": "x"}) == "quote symbol=ACME"
    assert answers.describe("sectors", {}) == "sectors"
    assert len(answers.describe("batch-quote", {"symbols": "ACME," * 100})) < 90


@pytest.mark.parametrize(
    ("error", "refuses"),
    [
        (FetchError(FetchErrorKind.PLAN, ""), True),
        (answers.StatusError(403, FetchErrorKind.UNAUTHORISED, ""), True),
        (answers.StatusError(401, FetchErrorKind.UNAUTHORISED, ""), False),
        (FetchError(FetchErrorKind.TIMEOUT, ""), False),
    ],
)
def test_402_and_403_refuse_a_batch(error: FetchError, refuses: bool) -> None:
    assert answers.refuses_batch(error) is refuses


SENT = "Sun, 29 Nov 2026 10:00:00 GMT"
SENT_EPOCH = 1_795_946_400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"X-RateLimit-Limit": "300"}, None),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"}, None),
        ({"X-RateLimit-Remaining": "plenty"}, None),
        ({"X-RateLimit-Remaining": "0"}, 60.0),
        ({"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "soon"}, 60.0),
        ({"X-RateLimit-Remaining": " 0 ", "X-RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30.5"}, 30.5),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "-3"}, 1.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "86400"}, 900.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{SENT_EPOCH + 42}", "Date": SENT}, 42.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{SENT_EPOCH + 42}000", "Date": SENT}, 42.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{SENT_EPOCH + 42}"}, 60.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 400}, 60.0),
    ],
)
def test_headers_say_when_no_calls_are_left_and_until_when(headers: dict[str, str], seconds: float | None) -> None:
    assert answers.used_up_seconds(headers) == seconds


def test_a_limit_without_retry_after_waits_for_the_reset() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17"}

    error = answers.failure(429, headers, b"Too many", about="quote", secret=KEY)

    assert error.retry_after_seconds == 17.0
