"""Every table has a rule; what is due goes in bounded batches, and what is still needed stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.topology.file import Retention
from schemas.records import Message
from sinks.delivery.ended_campaigns import cancel_open
from sinks.postgres.catalogue.campaigns import CampaignDraft, CampaignRejected, save_campaign
from sinks.postgres.catalogue.catalogue import save_token
from sinks.postgres.connect import Connection, connect
from sinks.postgres.named_rows import fetch
from sinks.postgres.partitions import EPOCH, Partition, create
from sinks.postgres.retention.catalogue import RULES, Deleted
from sinks.postgres.retention.enforce import BY_DAY, STEPS_MAX, TableRetention, _Ended
from tests.support.samples import number
from tests.support.sinks import Corner, counted
from tests.support.stage_events import campaign as campaign_event

CHECKOUT = Path(__file__).resolve().parents[4]
TODAY = datetime.now(UTC).date()
DELETED = "quizstream_table_rows_deleted_total"
HELD = "quizstream_table_rows_held_back"
POSTPONED = "quizstream_partition_drops_postponed_total"
OLDEST = "quizstream_table_oldest_row_seconds"
MONTH = date(2026, 1, 1)


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def enforce(corner: Corner, **changes: int) -> None:
    """A whole round."""
    limits = msgspec.structs.replace(corner.topology.retention, **changes)
    retention = TableRetention(limits, lambda: TODAY, cancel_open, batch_rows=7, page_rows=7)
    retention.begin_round()
    while retention.enforce(corner.connection):
        pass


def put(corner: Corner, table: str, **values: object) -> None:
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({places})"
    corner.connection.execute(statement.encode(), [*values.values()])


def test_every_table_has_a_rule_and_every_rule_a_setting_and_a_line_in_the_document(corner: Corner) -> None:
    tables = {
        name
        for (name,) in corner.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
    }
    assert tables == set(RULES), "a table without a rule: sinks/postgres/retention/catalogue.py"
    document = (CHECKOUT / "docs" / "retention.md").read_text(encoding="utf-8")
    for table, rule in RULES.items():
        assert f"| `{table}` |" in document
        if isinstance(rule, Deleted):
            section, name = rule.setting.split(".")
            assert getattr(getattr(corner.topology, section), name) > 0
            assert f"`{rule.setting}`" in document
    settings = {rule.setting for rule in RULES.values() if isinstance(rule, Deleted)}
    assert {f"retention.{field}" for field in Retention.__struct_fields__} <= settings


def days_of(corner: Corner, table: str) -> set[str]:
    rows = corner.rows(
        "SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = %s::regclass", table
    )
    return {str(day) for (day,) in rows}


def test_days_of_the_archive_are_dropped_whole(corner: Corner) -> None:
    kept_days = corner.topology.retention.archive_days
    old, kept = (TODAY - timedelta(days=days) for days in (kept_days + 1, kept_days))
    for table in BY_DAY:
        for day in (old, kept):
            create(corner.connection, Partition(table, (day - EPOCH).days))
    put(corner, "completions_apart", completion_id=number(1), day=old)
    put(corner, "completions_apart", completion_id=number(2), day=kept)

    enforce(corner)

    for table in BY_DAY:
        assert f"{old:%Y%m%d}" not in days_of(corner, table)
        assert f"{kept:%Y%m%d}" in days_of(corner, table)
        assert counted(OLDEST, table=table) == kept_days * 86_400
    assert corner.rows("SELECT completion_id::text FROM completions_apart") == [(number(2),)]


def test_days_of_visits_are_dropped_by_a_rule_of_their_own(corner: Corner) -> None:
    kept_days = corner.topology.retention.visit_days
    old, kept = (TODAY - timedelta(days=days) for days in (kept_days + 1, kept_days))
    for day in (old, kept):
        create(corner.connection, Partition("visits", (day - EPOCH).days))
        create(corner.connection, Partition("outcomes", (day - EPOCH).days))

    enforce(corner)

    assert days_of(corner, "visits") == {f"{kept:%Y%m%d}"}
    assert days_of(corner, "outcomes") == {f"{old:%Y%m%d}", f"{kept:%Y%m%d}"}
    assert counted(OLDEST, table="visits") == kept_days * 86_400


def test_a_day_whose_table_is_in_use_stays_whole_until_the_next_round_and_the_rest_goes(
    corner: Corner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.postgres.retention.enforce.LOCK_TIMEOUT_MS", 50)
    day = TODAY - timedelta(days=corner.topology.retention.archive_days + 1)
    for table in BY_DAY:
        create(corner.connection, Partition(table, (day - EPOCH).days))
    for n in (1, 2):
        put(corner, "completions_apart", completion_id=number(n), day=day)
    before = counted(POSTPONED, table="completions")
    with connect(corner.database_url, "reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM completions")
        enforce(corner)
        for table in BY_DAY:
            assert f"{day:%Y%m%d}" in days_of(corner, table)
    assert counted(POSTPONED, table="completions") == before + 1
    assert corner.rows("SELECT count(*) FROM completions_apart") == [(0,)]
    assert "is in use" in caplog.text

    enforce(corner)
    for table in BY_DAY:
        assert f"{day:%Y%m%d}" not in days_of(corner, table)


def delivery(
    corner: Corner, campaign: str, n: int, state: str = "sent", changed: datetime | None = None
) -> None:
    put(
        corner,
        "deliveries",
        campaign_month=MONTH,
        campaign_id=campaign,
        contact_id=f"{n:032x}",
        delivery_id=number(n),
        tenant_id="acme",
        campaign_version=1,
        completion_id=number(n),
        completion_day=MONTH,
        due_at=ago(800),
        state=state,
        updated_at=changed or ago(500),
    )
    put(corner, "delivery_attempts", attempt_id=number(n), delivery_id=number(n), number_id="n", attempt=1)


@pytest.fixture
def campaign(corner: Corner) -> Callable[..., None]:
    """Makes a campaign whose newest version ended so many days ago; None: it goes on."""
    create(corner.connection, Partition("deliveries", (MONTH - EPOCH).days))
    put(corner, "tenants", tenant_id="acme", name="Acme")

    def make(campaign_id: str, ended: float | None, *, active: bool = True, ends_at: bool = True) -> None:
        put(corner, "campaigns", campaign_id=campaign_id, tenant_id="acme", month=MONTH)
        end = None if ended is None else ago(ended)
        ends_at_ms = int(end.timestamp() * 1000) if end and ends_at else None
        definition = campaign_event(campaign_id, active=active, ends_at=ends_at_ms)
        put(
            corner,
            "campaign_versions",
            campaign_id=campaign_id,
            version=1,
            definition=msgspec.json.encode(definition).decode(),
            effective_at=end if end and not ends_at else ago(900),
        )

    return make


def test_deliveries_go_long_after_their_campaign_with_their_attempts(
    corner: Corner, campaign: Callable[..., None]
) -> None:
    campaign("ended", 401)
    campaign("switched off", 401, active=False, ends_at=False)
    campaign("lately", 399)
    campaign("runs", None)
    campaign("called", 401)
    campaign("changed", 401)
    for n in range(20):
        delivery(corner, "ended", n)
    for n, name in enumerate(("switched off", "lately", "runs", "called", "changed"), 30):
        delivery(corner, name, n)
    delivery(corner, "called", 40, state="calling")
    delivery(corner, "changed", 41, changed=ago(300))
    for name in ("ended", "lately"):
        put(corner, "campaign_rejections", campaign_id=name, code="131026", contact_id="c")
    before = counted(DELETED, table="deliveries")

    enforce(corner)

    assert corner.rows("SELECT campaign_id FROM campaign_rejections") == [("lately",)]
    left = corner.rows("SELECT DISTINCT campaign_id FROM deliveries ORDER BY 1")
    assert left == [("called",), ("changed",), ("lately",), ("runs",)]
    assert counted(DELETED, table="deliveries") == before + 21
    orphans = (
        "SELECT count(*) FROM delivery_attempts WHERE delivery_id NOT IN (SELECT delivery_id FROM deliveries)"
    )
    assert corner.rows(orphans) == [(0,)]
    assert corner.rows("SELECT count(*) FROM delivery_attempts") == [(6,)]


def test_what_still_waits_long_after_its_campaign_is_cancelled_with_its_event(
    corner: Corner, campaign: Callable[..., None]
) -> None:
    for n, (name, ended) in enumerate((("ended", 401), ("lately", 399), ("runs", None))):
        campaign(name, ended)
        delivery(corner, name, n, state="waiting")
    for n in range(3, 20):
        delivery(corner, "ended", n, state="waiting")
    corner.connection.execute("DELETE FROM outbox")

    enforce(corner)

    by_state = "SELECT campaign_id, state, count(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1"
    assert corner.rows(by_state) == [
        ("ended", "cancelled", 18), ("lately", "waiting", 1), ("runs", "waiting", 1),
    ]  # fmt: skip
    assert corner.rows("SELECT topic, count(*) FROM outbox GROUP BY 1") == [("delivery_events", 18)]


def test_a_campaign_that_gets_a_new_version_meanwhile_stays(
    corner: Corner, campaign: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an end that was read before the lock on the campaign was granted."""
    campaign("ended", 401)
    campaign("again", 401)
    asked: list[object] = []

    def fetching(connection: Connection, query: str, row: Any, parameters: Any) -> Any:
        found = fetch(connection, query, row, parameters)
        if row is _Ended and not parameters["open"] and not asked:
            asked.append(found)
            definition = msgspec.json.encode(campaign_event("again", version=2)).decode()
            put(
                corner, "campaign_versions", campaign_id="again", version=2, definition=definition,
                effective_at=ago(0),
            )  # fmt: skip
        return found

    monkeypatch.setattr("sinks.postgres.retention.enforce.fetch", fetching)
    enforce(corner)

    assert len(asked) == 1
    marked = "SELECT campaign_id FROM campaigns WHERE ledger_deleted_at IS NOT NULL"
    assert corner.rows(marked) == [("ended",)]
    assert corner.rows("SELECT actor, action, subject, detail->'cancelled' FROM audit_log") == [
        ("retention", "campaign.delete-ledger", "ended", True)
    ]


def test_one_process_at_a_time_goes_on_from_where_it_was_as_long_as_there_is_more(corner: Corner) -> None:
    for n in range(300):
        put(
            corner, "provider_statuses", provider="meta-cloud", provider_message_id=f"m{n:03}",
            status="sent", at=ago(91),
        )  # fmt: skip
    limits = corner.topology.retention
    one, two = (TableRetention(limits, lambda: TODAY, cancel_open, page_rows=7) for _ in range(2))
    left = "SELECT count(*) FROM provider_statuses"
    with connect(corner.database_url, "other process") as other:
        one.begin_round()
        two.begin_round()
        assert one.enforce(corner.connection)
        assert corner.rows(left) == [(300 - 7 * STEPS_MAX,)]
        assert not two.enforce(other)
        assert corner.rows(left) == [(300 - 7 * STEPS_MAX,)]
        one.begin_round()  # ten minutes later: it does not begin anew
        assert one.enforce(corner.connection)
        assert corner.rows(left) == [(300 - 2 * 7 * STEPS_MAX,)]
        while one.enforce(corner.connection):
            pass
        assert corner.rows(left) == [(0,)]
        assert not one.enforce(corner.connection)


def test_the_id_of_a_campaign_whose_deliveries_are_gone_is_never_active_again(
    corner: Corner, campaign: Callable[..., None]
) -> None:
    """Who got its message is not known any more, so nobody may get it a second time."""
    campaign("ended", 401)
    enforce(corner)
    put(
        corner, "quizzes", quiz_id="q", tenant_id="acme", version=1, title="Q",
        questions='[{"question_id": "a", "text": "A?"}]',
    )  # fmt: skip
    draft = CampaignDraft("ended", "acme", "Again", ["q"], Message(kind="text", text="hello"))
    with pytest.raises(CampaignRejected):
        save_campaign(corner.connection, draft, corner.topology.campaigns, int(ago(0).timestamp() * 1000))


def test_statuses_go_by_their_time_merged_or_not_a_page_at_a_time(corner: Corner) -> None:
    for n in range(30):
        put(
            corner, "provider_statuses", provider="meta-cloud", provider_message_id=f"m{n:02}", status="sent",
            at=ago(91 if n % 3 == 0 else 89), merged=n % 2 == 0,
        )  # fmt: skip
    before = counted(DELETED, table="provider_statuses")
    enforce(corner)
    assert corner.rows("SELECT count(*) FROM provider_statuses") == [(20,)]
    assert counted(DELETED, table="provider_statuses") == before + 10
    assert 88 * 86_400 <= counted(OLDEST, table="provider_statuses") <= 90 * 86_400


def test_personal_data_goes_when_nothing_refers_to_the_contact(
    corner: Corner, campaign: Callable[..., None]
) -> None:
    put(
        corner, "contacts", tenant_id="other", contact_id=f"{9:032x}", phone="+5547989211984",
        seen_at=ago(761),
    )  # fmt: skip
    for n, days in enumerate((761, 770, 759, 5000)):
        put(
            corner, "contacts", tenant_id="acme", contact_id=f"{n:032x}", phone="+5547989211984",
            seen_at=ago(days),
        )  # fmt: skip
    campaign("runs", None)
    delivery(corner, "runs", 0, state="waiting")
    first_open = TODAY - timedelta(days=765)
    corner.rows("UPDATE deliveries SET completion_day = %s RETURNING 1", first_open)
    left = "SELECT contact_id FROM contacts ORDER BY 1"

    enforce(corner)
    assert corner.rows(left) == [(f"{n:032x}",) for n in (0, 2)]  # an open delivery may be of the first
    assert counted(HELD, table="contacts") == 1  # and none of the other tenant
    assert counted(OLDEST, table="contacts") >= 761 * 86_400 - 86_400

    corner.rows("UPDATE deliveries SET state = 'sent' RETURNING 1")
    enforce(corner)
    assert corner.rows(left) == [(f"{2:032x}",)]
    assert counted(HELD, table="contacts") == 0


def test_revoked_tokens_leave_the_table_and_their_topic(corner: Corner) -> None:
    for hashed, revoked in (("a" * 64, True), ("b" * 64, True), ("c" * 64, False)):
        save_token(corner.connection, hashed, "*")
        if revoked:
            save_token(corner.connection, hashed, "*", revoked=True)
    corner.rows("UPDATE tokens SET revoked_at = %s WHERE token_hash = %s RETURNING 1", ago(91), "a" * 64)
    corner.connection.execute("DELETE FROM outbox")

    enforce(corner)

    assert corner.rows("SELECT token_hash FROM tokens ORDER BY 1") == [("b" * 64,), ("c" * 64,)]
    assert corner.rows("SELECT topic, key, value FROM outbox") == [("tokens", b"a" * 64, None)]


def test_users_leave_long_after_they_were_disabled(corner: Corner) -> None:
    for user, state, days in (("a", "active", 900), ("b", "disabled", 399), ("c", "disabled", 401)):
        corner.rows(
            "INSERT INTO users (tenant_id, user_id, email, role, state, state_changed_at, password_hash)"
            " VALUES ('acme', %s, %s, 'viewer', %s, %s, 'hash') RETURNING 1",
            *(user, user, state, ago(days)),
        )

    enforce(corner)

    assert corner.rows("SELECT user_id FROM users ORDER BY 1") == [("a",), ("b",)]
