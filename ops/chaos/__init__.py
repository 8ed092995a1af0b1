"""Faults on order: a seed gives a schedule, the schedule is carried out under load, the ledger is judged."""
