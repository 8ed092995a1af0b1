"""The rate limits that tenants have of their own, from their compacted topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ingest_api.limits.windows import Rule
from schemas.records import Tenant
from schemas.tenant_limits import DAY_S, TENANT_DAY

Own = Mapping[str, Rule]  # by name
NONE: Own = MappingProxyType({})


class TenantRules:
    """Written by the follower's thread and read by the event loop's: each change is one assignment.

    A tenant's rule has the window of the general one. Of a limit that this release does not have, nothing
    follows.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """`rules`: the general ones that a tenant may replace."""
        self._general = {rule.name: rule for rule in rules}
        self._general[TENANT_DAY] = Rule(TENANT_DAY, 0, DAY_S, "completions of one tenant")
        self._by_id: dict[str, tuple[int, Own]] = {}

    def on_event(self, key: bytes, tenant: Tenant | None) -> None:
        """Apply a version; an older one than the known is ignored: the outbox may publish it again."""
        if tenant is None:
            self._by_id.pop(key.decode(errors="replace"), None)
            return
        version, _own = self._by_id.get(tenant.tenant_id, (0, NONE))
        if tenant.version >= version:
            self._by_id[tenant.tenant_id] = (tenant.version, self._own(tenant))

    def of(self, tenant_id: str) -> Own:
        known = self._by_id.get(tenant_id)
        return NONE if known is None else known[1]

    def _own(self, tenant: Tenant) -> Own:
        own = {}
        for name, limit in tenant.limits.items():
            general = self._general.get(name)
            if general is not None and limit > 0:
                own[name] = Rule(name, limit, general.window_s, general.about)
        return own
