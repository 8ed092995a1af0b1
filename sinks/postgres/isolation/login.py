"""The login of the tenant API: a role of its own, whose password the owner sets."""

from __future__ import annotations

import hashlib
import hmac

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pipeline.runtime.settings import Settings
from sinks.postgres.connect import CONNECT_TIMEOUT_S, Connection, connect
from sinks.postgres.isolation.catalogue import TENANTS_ROLE

ATTEMPTS_MAX = 5


def tenants_url(settings: Settings) -> str:
    """The URL with which the tenant API logs in: QUIZSTREAM_TENANTS_DATABASE_URL, or one from the owner's."""
    if settings.tenants_database_url:
        return settings.tenants_database_url
    owner = conninfo_to_dict(settings.database_url)
    password = derived_password(str(owner["password"])) if owner.get("password") else None
    return make_conninfo(settings.database_url, user=TENANTS_ROLE, password=password)


def derived_password(owner_password: str) -> str:
    """A password for the role that the owner's leads to, and that does not lead to the owner's."""
    return hmac.new(owner_password.encode(), TENANTS_ROLE.encode(), hashlib.sha256).hexdigest()


def allow_login(owner_url: str, tenants_url: str) -> bool:
    """Let the role of `tenants_url` log in with its password; return whether anything changed.

    Only for the role that migrations made: another one is the operator's. Databases of one server share it.
    """
    given = conninfo_to_dict(tenants_url)
    password = given.get("password")
    if given.get("user") != TENANTS_ROLE or not password or _may_log_in(tenants_url):
        return False
    with connect(owner_url, "prepare") as connection:
        for attempt in range(ATTEMPTS_MAX):
            try:
                _alter(connection, str(password))
                return True
            except psycopg.errors.InternalError_:  # altered at the same moment by another database's owner
                if attempt == ATTEMPTS_MAX - 1:
                    raise
    return True


def _alter(connection: Connection, password: str) -> None:
    # Hashed here: the server's log of statements never has the password.
    hashed = connection.pgconn.encrypt_password(password.encode(), TENANTS_ROLE.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
            sql.Identifier(TENANTS_ROLE), sql.Literal(hashed.decode())
        )
    )


def _may_log_in(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError:
        return False
    return True
