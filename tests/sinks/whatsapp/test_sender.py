"""The sender as a process, against the simulator as a process and a real PostgreSQL."""

from __future__ import annotations

from tests.sinks.whatsapp.world import World


def test_every_waiting_delivery_is_called_for_once(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 50)
    world.simulator()
    world.sender()
    world.wait_for(sent=50)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}
