"""Kafka, PostgreSQL and Valkey on this machine, without Docker and without a system package.

Way in: `ops.embedded.stack.EmbeddedStack`. From a shell: `python -m ops.embedded --home DIR --port-base N`.
"""
