"""Faults of servers, links and clocks: what a run does to the machine beneath the processes."""
