"""How far a visit of a quiz has come, as its page reports it."""
