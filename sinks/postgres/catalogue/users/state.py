"""The life of a user: its states, and every change of state that is possible, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class UserState(StrEnum):
    """`users.state`: the CHECK of the table has the same list."""

    ACTIVE = "active"
    DISABLED = "disabled"


class UserEvent(StrEnum):
    """What may happen to a user. The audit log has it as `user.<event>`."""

    DISABLE = "disable"
    ENABLE = "enable"


TRANSITIONS: Mapping[tuple[UserState, UserEvent], UserState] = MappingProxyType(
    {
        (UserState.ACTIVE, UserEvent.DISABLE): UserState.DISABLED,
        (UserState.DISABLED, UserEvent.ENABLE): UserState.ACTIVE,
    }
)
"""An event that is not here for a state changes nothing: a repeated request is not an error."""


def after(state: UserState, event: UserEvent) -> UserState:
    """Return the state after the event."""
    return TRANSITIONS.get((state, event), state)
