"""Checks that the topics of the stages exist, with the partition counts of the topology."""

from collections.abc import Mapping

from pipeline.errors import OperatorError
from pipeline.runtime.kafka_clients import admin_client

ANSWER_TIMEOUT_S = 30.0


class TopicsNotReady(OperatorError):
    """Topics are missing or have other partition counts. The message has each topic and the remedy."""


def check_topics(bootstrap_servers: str, partitions: Mapping[str, int]) -> None:
    """Compare the cluster with the required partition count of each topic. Raises `TopicsNotReady`.

    A table works only if its changelog has exactly its source's partitions: a key's state is in the
    partition of its records. Blocks; raises `KafkaException` when no broker answers.
    """
    found = admin_client(bootstrap_servers).list_topics(timeout=ANSWER_TIMEOUT_S).topics
    problems = []
    for topic, wanted in partitions.items():
        got = len(found[topic].partitions) if topic in found else 0
        if got != wanted:
            problems.append(f"{topic} has {got} partitions, not {wanted}" if got else f"{topic} is missing")
    if problems:
        raise TopicsNotReady(f"topics: {'; '.join(problems)}. Run `quizstream topology apply`")
