"""Whose requests are answered: tokens of every kind, good and bad, through real sockets."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from daemon.web.jwt_auth import MAX_TOKEN_LENGTH, TokenRefusedError, TokenVerifier
from tests.presence.stage import LogRecorder
from tests.web.subscription_stage import (
    EC_KEY,
    ISSUER,
    RSA_KEY,
    SECRET,
    KeyServer,
    MemoryStore,
    Stage,
    anonymous_key,
    claims,
    es256,
    hs256,
    jwk_of,
    key_server,
    rs256,
    staged,
)


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    async with key_server() as server:
        yield server


@pytest.fixture(autouse=True)
def recorded(log: LogRecorder) -> LogRecorder:
    """Keep what is logged off the screen."""
    return log


@pytest.fixture
async def stage(keys: KeyServer) -> AsyncIterator[Stage]:
    async with staged(jwks_url=keys.url, publishable_keys=["sb_publishable_abcdef"]) as running:
        yield running


def encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unsigned(algorithm: str, signature: str = "") -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(claims())}.{signature}"


def signed_with_the_public_key(kid: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Return a token whose HMAC has a public key as its secret: what a careless verifier takes for good."""
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{encoded({'alg': 'HS256', 'kid': kid})}.{encoded(claims())}"
    return f"{signing_input}.{encoded(hmac.digest(pem, signing_input.encode(), 'sha256'))}"


@pytest.mark.parametrize("make", [hs256, es256, rs256])
async def test_a_good_token_makes_a_user(stage: Stage, make: Callable[[], str]) -> None:
    answer = await stage.post(token=make())

    assert answer.status == 200
    assert answer.body["viewer"] == "user"


@pytest.mark.parametrize("make", [anonymous_key, lambda: es256(role="anon", sub=None, aud=None)])
async def test_a_logged_out_token_makes_a_connection(stage: Stage, make: Callable[[], str]) -> None:
    answer = await stage.post(token=make())

    assert answer.status == 200
    assert answer.body["viewer"] == "connection"


async def test_a_publishable_key_makes_a_connection_and_another_one_nothing(stage: Stage) -> None:
    good = await stage.post(token="sb_publishable_abcdef")
    bad = await stage.post(token="sb_publishable_abcdeg")

    assert (good.status, good.body["viewer"], bad.status) == (200, "connection", 401)


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "none at all": lambda: "",
    "no JWT": lambda: "abc",
    "two parts": lambda: hs256().rpartition(".")[0],
    "alg none": lambda: unsigned("none"),
    "alg None with a signature": lambda: unsigned("None", "AAAA"),
    "HS256 without a signature": lambda: unsigned("HS256"),
    "another algorithm": lambda: jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "HMAC with the elliptic public key": lambda: signed_with_the_public_key("ec-1", EC_KEY),
    "HMAC with the RSA public key": lambda: signed_with_the_public_key("rsa-1", RSA_KEY),
    "an elliptic token under the RSA key's id": lambda: es256(kid="rsa-1"),
    "an RSA token under the elliptic key's id": lambda: rs256(kid="ec-1"),
    "no key id": lambda: es256(kid=None),
    "a foreign secret": lambda: hs256("another secret that is also long enough"),
    "a foreign elliptic key": lambda: es256(ec.generate_private_key(ec.SECP256R1())),
    "a foreign RSA key": lambda: rs256(rsa.generate_private_key(public_exponent=65_537, key_size=2_048)),
    "another issuer": lambda: hs256(iss="https://other.supabase.co/auth/v1"),
    "no issuer": lambda: hs256(iss=None),
    "an anonymous token of another issuer": lambda: hs256(role="anon", sub=None, iss="https://other.example"),
    "another audience": lambda: hs256(aud="service"),
    "no audience": lambda: hs256(aud=None),
    "the service role": lambda: hs256(role="service_role"),
    "no role": lambda: hs256(role=None),
    "no user": lambda: hs256(sub=None),
    "an empty user": lambda: hs256(sub=""),
    "an unprintable user": lambda: hs256(sub="a\nb"),
    "a long user": lambda: hs256(sub="u" * 129),
    "expired": lambda: hs256(exp=int(time.time()) - 11),
    "without an end": lambda: hs256(exp=None),
    "an end that is no number": lambda: jwt.PyJWS().encode(json.dumps(claims() | {"exp": "never"}).encode(), SECRET),
    "an infinite end": lambda: jwt.PyJWS().encode(json.dumps(claims() | {"exp": float("inf")}).encode(), SECRET),
    "not yet": lambda: hs256(nbf=int(time.time()) + 60),
    "claims that are no object": lambda: jwt.PyJWS().encode(b"[1]", SECRET),
    "deep claims": lambda: jwt.PyJWS().encode(b'{"exp":' + b"[" * 3_000, SECRET),
    "a deep header": lambda: f"{encoded(b'[' * 4_000)}.{encoded(claims())}.AAAA",
    "a header that is no object": lambda: f"{encoded([1])}.{encoded(claims())}.AAAA",
    "an algorithm that is no text": lambda: f"{encoded({'alg': 1})}.{encoded(claims())}.AAAA",
    "a critical extension": lambda: jwt.encode(claims(), SECRET, headers={"crit": ["x"], "x": 1}),
    "no ASCII": lambda: "ä.ö.ü",
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_and_nothing_is_done(stage: Stage, kind: str) -> None:
    answer = await stage.post(token=BAD_TOKENS[kind]())

    assert (answer.status, answer.code) == (401, "unauthorised")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert isinstance(stage.store, MemoryStore)
    assert stage.store.calls == []


async def test_a_token_beyond_the_bound_is_refused_unread() -> None:
    verifier = TokenVerifier(secrets=[SECRET], jwks=None, issuer=ISSUER, now=time.time)

    with pytest.raises(TokenRefusedError, match="long"):
        await verifier.verify(hs256(padding="a" * MAX_TOKEN_LENGTH))


async def test_two_authorisations_are_none(stage: Stage) -> None:
    headers = [("Authorization", f"Bearer {hs256()}"), ("Authorization", f"Bearer {hs256()}")]
    async with stage.client.post("/functions/v1/track-subscription-v2", json={}, headers=headers) as response:
        assert response.status == 401


async def test_the_scheme_may_be_written_in_any_case(stage: Stage) -> None:
    answer = await stage.post(token="", Authorization=f"bEARER  {hs256()}")

    assert answer.status == 200


async def test_clocks_may_differ_a_little(stage: Stage) -> None:
    now = int(time.time())

    assert (await stage.post(token=hs256(exp=now - 5))).status == 200
    assert (await stage.post(token=hs256(nbf=now + 5))).status == 200


async def test_one_audience_of_several_is_enough(stage: Stage) -> None:
    assert (await stage.post(token=hs256(aud=["other", "authenticated"]))).status == 200


async def test_a_flood_of_key_ids_costs_one_fetch_a_minute(stage: Stage, keys: KeyServer) -> None:
    async def flood() -> set[int]:
        answers = [stage.post(token=es256(kid=f"unknown-{number}")) for number in range(50)]
        return {answer.status for answer in await asyncio.gather(*answers)}

    first = await flood()
    stage.clock.move(59)
    second = await flood()
    within_a_minute = keys.fetches
    stage.clock.move(2)
    third = await flood()

    assert first | second | third == {401}
    assert (within_a_minute, keys.fetches) == (1, 2)


async def test_known_keys_are_fetched_again_only_when_they_have_got_old(stage: Stage, keys: KeyServer) -> None:
    for _ in range(3):
        await stage.post(token=es256())
        stage.clock.move(100)
    young = keys.fetches
    stage.clock.move(400)
    await stage.post(token=es256())

    assert (young, keys.fetches) == (1, 2)


async def test_a_new_key_is_found_and_a_withdrawn_one_ends(stage: Stage, keys: KeyServer) -> None:
    await stage.post(token=es256())
    new = ec.generate_private_key(ec.SECP256R1())
    keys.keys = [jwk_of(new, "ec-2")]
    stage.clock.move(61)

    assert (await stage.post(token=es256(new, "ec-2"))).status == 200
    assert (await stage.post(token=es256())).status == 401


async def test_without_the_issuer_known_keys_work_on_and_new_ones_are_a_503(stage: Stage, keys: KeyServer) -> None:
    await stage.post(token=es256())
    keys.status = 500
    stage.clock.move(700)

    known = await stage.post(token=es256())
    unknown = await stage.post(token=es256(kid="ec-2"))
    stage.clock.move(86_400)
    known_too_long = await stage.post(token=es256())

    assert known.status == 200
    assert (unknown.status, unknown.code) == (503, "keys_unavailable")
    assert 1 <= int(unknown.headers["Retry-After"]) <= 60
    assert known_too_long.status == 503


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys":' + b"[" * 30_000, b"x" * 70_000],
    ids=len,
)
async def test_what_is_no_key_set_is_a_503_and_said_once(
    stage: Stage, keys: KeyServer, log: LogRecorder, body: bytes
) -> None:
    keys.body = body

    answers = [await stage.post(token=es256()) for _ in range(3)]

    assert {answer.status for answer in answers} == {503}
    assert keys.fetches == 1
    assert [line["part"] for line in log.of("part_interrupted")] == ["token_keys"]


async def test_while_the_keys_are_fetched_known_ones_are_not_waited_for(stage: Stage, keys: KeyServer) -> None:
    await stage.post(token=es256())
    keys.may_answer.clear()
    stage.clock.move(700)
    waiting = asyncio.ensure_future(stage.post(token=es256(kid="ec-2")))
    await keys.until(lambda: keys.fetches == 2)

    known = await stage.post(token=es256())
    was_waiting = not waiting.done()
    keys.may_answer.set()

    assert (known.status, was_waiting, (await waiting).status) == (200, True, 401)


async def test_an_issuer_that_never_answers_is_a_503(
    stage: Stage, keys: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.web.jwks.FETCH_SECONDS", 0.1)
    keys.may_answer.clear()

    answer = await stage.post(token=es256())
    keys.may_answer.set()

    assert (answer.status, answer.code) == (503, "keys_unavailable")


async def test_a_redirect_of_the_key_set_is_not_followed(stage: Stage, keys: KeyServer) -> None:
    keys.status = 302

    assert (await stage.post(token=es256())).status == 503


UNUSABLE_KEYS: dict[str, Callable[[], Any]] = {
    "for encryption": lambda: jwk_of(EC_KEY, "ec-1", use="enc"),
    "for signing only": lambda: jwk_of(EC_KEY, "ec-1", key_ops=["sign"]),
    "of another algorithm": lambda: jwk_of(EC_KEY, "ec-1", alg="ES384"),
    "of another curve": lambda: jwk_of(ec.generate_private_key(ec.SECP384R1()), "ec-1"),
    "not on its curve": lambda: jwk_of(EC_KEY, "ec-1", x=jwk_of(EC_KEY, "ec-1")["y"]),
    "symmetric": lambda: {"kty": "oct", "kid": "ec-1", "k": encoded(SECRET.encode())},
    "without a point": lambda: {"kty": "EC", "crv": "P-256", "kid": "ec-1"},
    "no object": lambda: 7,
}


@pytest.mark.parametrize("kind", UNUSABLE_KEYS)
async def test_keys_that_cannot_verify_are_passed_over_and_the_others_used(
    stage: Stage, keys: KeyServer, kind: str
) -> None:
    keys.keys = [UNUSABLE_KEYS[kind](), jwk_of(RSA_KEY, "rsa-1")]

    assert (await stage.post(token=es256())).status == 401
    assert (await stage.post(token=rs256())).status == 200


async def test_a_short_rsa_key_is_passed_over(stage: Stage, keys: KeyServer) -> None:
    short = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    keys.keys = [jwk_of(short, "rsa-1"), jwk_of(EC_KEY, "ec-1")]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = rs256(short)

    assert (await stage.post(token=token)).status == 401
    assert (await stage.post(token=es256())).status == 200


async def test_refused_tokens_leave_nothing_in_the_log(stage: Stage, log: LogRecorder) -> None:
    for kind in ("no JWT", "alg none", "a foreign secret", "an unprintable user"):
        await stage.post(token=BAD_TOKENS[kind]())

    assert log.lines == []


def test_a_verifier_without_any_key_or_with_a_short_secret_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="need"):
        TokenVerifier(secrets=[], jwks=None, issuer=ISSUER, now=time.time)
    with pytest.raises(ValueError, match="32"):
        TokenVerifier(secrets=["short"], jwks=None, issuer=ISSUER, now=time.time)


async def test_while_a_secret_is_changed_both_are_good() -> None:
    other = "the secret before this one, long enough"
    verifier = TokenVerifier(secrets=[SECRET, other], jwks=None, issuer=ISSUER, now=time.time)

    assert (await verifier.verify(hs256())).user == "user-1"
    assert (await verifier.verify(hs256(other))).user == "user-1"
