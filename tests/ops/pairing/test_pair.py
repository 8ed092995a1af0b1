"""Pairing against the simulator in this process: codes that change, a phone that scans, failures."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segno
from starlette.testclient import TestClient

from ops.pairing.pair import GIVE_UP_S, LOOK_S, NotPaired, pair
from ops.pairing.png import NotACode, squares_of
from ops.pairing.shown import as_image, in_terminal, write_image
from ops.simulated_instances import token_of
from ops.simulator.app import create_app
from ops.simulator.catalogue import templates
from ops.simulator.common.instances import Instances
from ops.simulator.common.record import Record
from ops.simulator.evolution import answers as evolution
from ops.simulator.send import Provider
from ops.simulator.uazapi import answers as uazapi
from ops.simulator.webhooks import Webhooks
from sinks.pairing import PairingCode, PairingRequest, pairing_of

NUMBER = "551100000001"


class Phone:
    """The simulator, a clock that only sleeping moves, and somebody who may scan what is shown."""

    def __init__(self, folder: Path, provider: str) -> None:
        self.now = 1000.0
        self.provider = provider
        rng = random.Random(1)
        meta = Webhooks("http://127.0.0.1:1", b"-", rng, time.monotonic)
        shared = Provider(
            "base", Record(folder / "calls.jsonl"), meta, rng, self.clock, self.clock, templates=templates({})
        )
        words = uazapi.WORDS if provider == "uazapi" else evolution.WORDS
        self.instances = Instances(words, shared, "base", None, rng, self.clock, self.clock)
        self.http = TestClient(create_app(shared, {provider: self.instances}))
        self.asked: list[str] = []
        self.shown: list[tuple[float, PairingCode]] = []
        self.fails: Callable[[], tuple[int, bytes] | None] | None = None
        self.scans_at: float | None = None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.scans_at is not None and self.now >= self.scans_at:
            self.instances.set_session(NUMBER, True, "")

    def ask(self, request: PairingRequest) -> tuple[int, bytes] | None:
        self.asked.append(request.path)
        if self.fails is not None:
            return self.fails()
        answer = self.http.request(
            request.method, request.path, headers=dict(request.headers), content=request.body
        )
        return answer.status_code, answer.content

    def pair(self, token: str = token_of("base", NUMBER), give_up_s: float = GIVE_UP_S) -> int:
        pairing = pairing_of(self.provider)
        assert pairing is not None
        return pair(
            pairing,
            NUMBER,
            token,
            self.ask,
            lambda code: self.shown.append((self.now, code)),
            self.clock,
            self.sleep,
            random.Random(1),
            give_up_s,
        )


@pytest.fixture(params=["uazapi", "evolution"])
def phone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Phone]:
    made = Phone(tmp_path, request.param)
    made.instances.set_session(NUMBER, False, "401: logged out")
    with made.http:
        yield made


def test_a_code_is_renewed_before_it_expires_until_it_is_scanned(phone: Phone) -> None:
    phone.scans_at = phone.now + 40
    assert phone.pair() == len(phone.shown) >= 3
    assert all(later - earlier <= 15 + LOOK_S for (earlier, _), (later, _) in itertools.pairwise(phone.shown))
    assert len({in_terminal(code) for _, code in phone.shown}) == len(phone.shown)
    assert phone.now <= 1000 + 40 + 2


def test_a_number_that_is_connected_needs_no_code(phone: Phone) -> None:
    phone.instances.set_session(NUMBER, True, "")
    assert phone.pair() == 0
    assert len(phone.asked) == 1


def test_nobody_scans_it(phone: Phone) -> None:
    with pytest.raises(NotPaired, match="within 60 s"):
        phone.pair(give_up_s=60)
    assert phone.now == 1060


def test_a_wrong_token_ends_it_and_is_not_shown(phone: Phone) -> None:
    with pytest.raises(NotPaired, match="HTTP 401") as caught:
        phone.pair(token="a-wrong-token")
    assert "a-wrong-token" not in str(caught.value)
    assert len(phone.asked) == 1


@pytest.mark.parametrize("failure", [None, (502, b"<html>"), (429, b"{}")], ids=str)
def test_a_provider_that_fails_is_asked_again_more_and_more_seldom(
    phone: Phone, failure: tuple[int, bytes] | None
) -> None:
    phone.fails = lambda: failure
    with pytest.raises(NotPaired):
        phone.pair(give_up_s=120)
    assert 5 < len(phone.asked) < 12


@pytest.mark.parametrize("text", ["2@551100000001,0", "2@" + "Ab9+/=" * 40])
@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("border", [0, 4])
def test_the_squares_of_a_picture_are_those_of_the_code(
    text: str, scale: int, border: int, tmp_path: Path
) -> None:
    code = segno.make_qr(text)
    path = tmp_path / "code.png"
    for colours in ({}, {"dark": "#123", "light": "#ffc"}, {"light": None}):
        code.save(str(path), scale=scale, border=border, **colours)
        assert squares_of(path.read_bytes()) == [[bool(square) for square in row] for row in code.matrix]


@pytest.mark.parametrize("cut", [0, 20, 60, 200])
def test_what_is_not_a_whole_picture_is_no_code(cut: int) -> None:
    with pytest.raises(NotACode):
        squares_of(as_image(PairingCode("2@code"))[:cut])


def test_text_and_picture_look_the_same_and_the_file_is_its_owners(tmp_path: Path) -> None:
    by_text = PairingCode("2@code")
    assert in_terminal(by_text) == in_terminal(PairingCode(image=as_image(by_text)))
    for _ in range(2):
        write_image(tmp_path / "code.png", as_image(by_text))
    assert (tmp_path / "code.png").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["code.png"]
    with pytest.raises(NotPaired, match="cannot write"):
        write_image(tmp_path / "none" / "code.png", b"x")
