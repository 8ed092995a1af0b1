"""The one error that a person at the keyboard is meant to read."""


class CannotStart(Exception):
    """Something outside the program stands in the way. The message is one line: what, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    @property
    def message(self) -> str:
        return str(self.args[0])
