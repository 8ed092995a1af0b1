"""Only the jars that the lock names, with the content that the lock names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ops.embedded.jars import Jar, cache_folder, provide, read_lock
from pipeline.errors import CannotStart

CONTENT = b"the published jar"
JAR = Jar("org.example", "example", "1.0", hashlib.sha256(CONTENT).hexdigest())


class Mirror:
    """Where jars come from in these tests; counts what it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, jar: Jar, path: Path) -> None:
        self.asked.append(jar.coordinate)
        path.write_bytes(self.content)


def silent(_line: str) -> None:
    return None


def test_a_jar_with_other_content_than_the_lock_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"org\.example:example:1\.0 .* rejected"):
        provide([JAR], tmp_path, silent, Mirror(b"something else"))
    assert not (tmp_path / JAR.file_name).exists()


def test_a_jar_is_fetched_once(tmp_path: Path) -> None:
    mirror = Mirror(CONTENT)
    for _ in range(2):
        provide([JAR], tmp_path, silent, mirror)
    assert mirror.asked == [JAR.coordinate]
    assert (tmp_path / JAR.file_name).read_bytes() == CONTENT


def test_a_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / JAR.file_name).write_bytes(b"half of the publ")
    provide([JAR], tmp_path, silent, Mirror(CONTENT))
    assert (tmp_path / JAR.file_name).read_bytes() == CONTENT


def test_a_failed_download_says_which_jar_and_what_to_do(tmp_path: Path) -> None:
    def unplugged(jar: Jar, path: Path) -> None:
        raise ConnectionError("name resolution failed")

    with pytest.raises(CannotStart, match=r"Cannot download org\.example:example:1\.0.*check the network"):
        provide([JAR], tmp_path, silent, unplugged)


def test_the_committed_lock_names_kafka_with_a_hash_and_no_address() -> None:
    jars = read_lock()
    kafka = [jar for jar in jars if jar.artifact == "kafka_2.13"]
    assert [jar.version.rpartition(".")[0] for jar in kafka] == ["4.3"]
    assert len({jar.file_name for jar in jars}) == len(jars) > 40


def test_a_line_of_the_lock_that_is_no_jar_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "broken.lock"
    lock.write_text("# comment\norg.example:example:1.0 sha256:short\n")
    with pytest.raises(CannotStart, match="line 2"):
        read_lock(lock)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"QUIZSTREAM_CACHE": "/somewhere"}, "/somewhere"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/quizstream"),
    ],
)
def test_the_cache_is_where_the_user_says(env: dict[str, str], expected: str) -> None:
    assert cache_folder(env) == Path(expected)
