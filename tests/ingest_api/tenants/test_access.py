"""Forged, old and borrowed tokens are rejected, and no rejection costs memory or a query."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from ingest_api.http.problems import Rejection
from ingest_api.tenants.access.api_keys import ApiKeys
from ingest_api.tenants.access.authenticate import REMEMBERED_MAX, Authenticate
from ingest_api.tenants.access.roles import Principal
from ingest_api.tenants.access.signing_keys import BadKeySet, SigningKeys, parse
from schemas.records import Token
from sinks.postgres.catalogue.api_keys import revocation_of

NOW_S = 1_790_000_000.0
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ed25519.Ed25519PrivateKey.generate()


def public(private: Any) -> Any:
    return private.public_key()


def jwk(private: Any, kid: str) -> dict[str, Any]:
    algorithm: Any = OKPAlgorithm if isinstance(private, ed25519.Ed25519PrivateKey) else RSAAlgorithm
    return {**algorithm.to_jwk(public(private), as_dict=True), "kid": kid}


def key_set(*entries: dict[str, Any]) -> str:
    return json.dumps({"keys": list(entries)})


class World:
    """A clock, a key set that can change, and the events of the topic of tokens."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.text = key_set(jwk(ED, "ed"), jwk(RSA, "rsa"))
        self.reads = 0
        self.api_keys = ApiKeys()
        self.behind: tuple[str, ...] = ()
        self._keys = SigningKeys(self._load, lambda: self.now_s, refresh_s=300, unknown_refresh_s=10)
        self.authenticate = self.authenticating()

    def authenticating(self, issuer: str = "") -> Authenticate:
        return Authenticate(self._keys, self.api_keys, lambda: self.now_s, lambda: self.behind, issuer=issuer)

    async def _load(self) -> str:
        self.reads += 1
        return self.text

    def caller(self, token: str | bytes) -> Principal:
        raw = token if isinstance(token, bytes) else token.encode()
        return asyncio.run(self.authenticate.caller(b"Bearer " + raw))

    def is_rejected(self, token: str | bytes) -> bool:
        try:
            self.caller(token)
        except Rejection as rejected:
            return rejected.problem.kind.status == 401
        return False


def token(private: Any = ED, kid: str = "ed", algorithm: str = "EdDSA", **changes: Any) -> str:
    claims = {
        "sub": "ana",
        "aud": "quizstream",
        "iat": NOW_S,
        "exp": NOW_S + 3600,
        "jti": "t1",
        "tenant": "acme",
        "role": "editor",
    }
    kept = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(kept, private, algorithm=algorithm, headers={"kid": kid})


def test_a_token_of_each_algorithm_is_accepted() -> None:
    world = World()
    assert world.caller(token()).tenant_id == "acme"
    assert world.caller(token(RSA, "rsa", "RS256")).permissions == {"read", "write"}


def test_no_token_chooses_how_it_is_verified() -> None:
    """`alg: none`, and a public key that is taken for the secret of a symmetric signature."""
    world = World()
    pem = public(RSA).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, claims, _ = token().split(".")

    def with_head(**fields: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()

    none = with_head(alg="none", kid="ed")
    assert world.is_rejected(f"{none}.{claims}.")
    for kid, secret in (("rsa", pem), ("ed", ED.public_key().public_bytes_raw())):
        confused = with_head(alg="HS256", kid=kid)
        mac = hmac.new(secret, f"{confused}.{claims}".encode(), hashlib.sha256).digest()
        forged = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert world.is_rejected(f"{confused}.{claims}.{forged}")
    assert world.is_rejected(token(RSA, "ed", "RS256"))  # another key's algorithm
    assert world.is_rejected(token(OTHER))
    assert world.is_rejected(f"{head}.{claims}.")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW_S - 31},
        {"iat": NOW_S + 31},
        {"nbf": NOW_S + 31},
        {"exp": NOW_S + 25 * 3600},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": float("inf")},
        {"iat": True},
        {"aud": "another"},
        {"aud": None},
        {"jti": None},
        {"jti": ""},
        {"tenant": "*"},
        {"tenant": ["acme"]},
        {"role": "root"},
        {"role": "platform"},
        {"sub": "x" * 201},
    ],
    ids=str,
)
def test_a_signed_token_with_other_claims_is_rejected(changes: dict[str, Any]) -> None:
    assert World().is_rejected(token(**changes))


def test_a_remembered_token_ends_with_its_time_and_with_its_revocation() -> None:
    world = World()
    given = token()
    world.caller(given)
    world.api_keys.on_event(b"", Token(revocation_of("umbrella", "t1"), "umbrella", 1, revoked=True))
    world.caller(given)  # of another tenant: no matter
    world.api_keys.on_event(b"", Token(revocation_of("acme", "t1"), "acme", 1, revoked=True))
    assert world.is_rejected(given)
    other = token(jti="t2")
    world.caller(other)
    world.now_s += 3600 + 31
    assert world.is_rejected(other)


def test_keys_rotate() -> None:
    """A new key is read when a token names it; a removed one ends with the next reading."""
    world = World()
    new = token(OTHER, "new")
    assert world.is_rejected(new)
    world.text = key_set(jwk(OTHER, "new"))
    assert world.is_rejected(new)  # strangers cannot make it read again at once
    world.now_s += 11
    assert not world.is_rejected(new)
    assert world.is_rejected(token(jti="t2"))
    world.text = "not a set"
    world.now_s += 301
    assert not world.is_rejected(token(OTHER, "new", jti="t3", iat=world.now_s, exp=world.now_s + 60))


def test_a_token_of_a_removed_key_ends_with_the_next_reading_of_the_set() -> None:
    """However shortly before it was verified: what is remembered is of the set of then."""
    world = World()
    world.caller(token())
    world.now_s += 299
    world.caller(token(jti="t2", exp=NOW_S + 3600))
    reads = world.reads
    world.now_s += 2
    world.caller(token(jti="t2", exp=NOW_S + 3600))  # of the same set: nothing is lost
    assert world.reads == reads + 1
    world.text = key_set(jwk(RSA, "rsa"))
    world.now_s += 301
    assert world.is_rejected(token(jti="t2", exp=NOW_S + 3600))


def test_before_the_revocations_are_read_no_token_is_accepted() -> None:
    world = World()
    world.caller(token())
    world.behind = ("reference data tokens: not read yet",)
    for given in (token(), "qsk_pass"):
        with pytest.raises(Rejection) as rejected:
            world.caller(given)
        assert rejected.value.problem.kind.slug == "not-ready"
        assert b"retry-after" in dict(rejected.value.problem.reply().headers)
    world.behind = ()
    world.caller(token())


def test_a_platform_token_is_revoked() -> None:
    world = World()
    given = token(tenant="*", role="platform")
    world.caller(given)
    world.api_keys.on_event(b"", Token(revocation_of("acme", "t1"), "acme", 1, revoked=True))
    world.caller(given)  # a tenant cannot revoke it
    world.api_keys.on_event(b"", Token(revocation_of("*", "t1"), "*", 1, revoked=True))
    assert world.is_rejected(given)


def test_only_tokens_of_the_issuer_are_accepted_where_one_is_set() -> None:
    world = World()
    world.authenticate = world.authenticating("https://id.example")
    assert world.is_rejected(token())
    assert world.is_rejected(token(iss="https://other.example"))
    assert world.caller(token(iss="https://id.example")).tenant_id == "acme"


def test_random_and_huge_tokens_take_no_memory_and_read_nothing_again() -> None:
    world = World()
    world.caller(token())
    remembered = len(world.authenticate._remembered)
    for number in range(2_000):
        assert world.is_rejected(f"qsk_{number}")
        assert world.is_rejected(token(OTHER, "ed")[:-8] + f"{number:08d}")
        assert world.is_rejected(f"{number}.{number}.{number}")
    assert world.is_rejected(b"x" * 1_000_000)
    assert world.is_rejected(b"qsk_" + b"x" * 1_000_000)
    assert len(world.authenticate._remembered) == remembered
    assert world.reads == 1


def test_the_memory_of_verified_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REMEMBERED_MAX <= 10_000
    monkeypatch.setattr("ingest_api.tenants.access.authenticate.REMEMBERED_MAX", 3)
    world = World()
    for number in range(9):
        world.caller(token(jti=f"t{number}"))
    assert len(world.authenticate._remembered) == 3


def test_an_api_key_ends_with_its_time_or_revocation_and_keeps_to_its_scopes() -> None:
    world = World()
    digest = hashlib.sha256(b"qsk_pass").hexdigest()

    def known(version: int, **changes: Any) -> None:
        world.api_keys.on_event(b"", Token(digest, "acme", version, key_id="k1", **changes))

    known(1)
    assert world.is_rejected("qsk_pass")  # a service token is no API key
    known(2, role="owner", scopes=["read"], expires_at=int((NOW_S + 10) * 1000))
    assert world.caller("qsk_pass").permissions == {"read"}
    world.now_s += 10
    assert world.is_rejected("qsk_pass")
    known(3, role="owner")
    assert world.caller("qsk_pass").permissions == {"read", "write", "manage"}
    known(4, role="owner", revoked=True)
    assert world.is_rejected("qsk_pass")
    known(3, role="owner")  # late
    assert world.is_rejected("qsk_pass")


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0" * 10},
        {"kty": "RSA", "kid": "a"},
        {**jwk(ED, "a"), "alg": "HS256"},
        {**jwk(RSA, "a"), "alg": "RS512"},
        {**jwk(RSA, "a"), "d": "private"},
        {**jwk(ED, "")},
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "a"),
        "no key",
    ],
    # The keys are new ones in each process, and a test has the same name in all.
    ids=["shared", "incomplete", "hs256", "rs512", "private", "without-id", "short", "no-key"],
)
def test_a_set_with_a_key_that_could_forge_is_refused(entry: Any) -> None:
    with pytest.raises(BadKeySet):
        parse(key_set(entry))
