# What can go wrong in the SDK, as exceptions that a task may catch.


class EdgedagError(Exception):
    """Everything that the SDK raises for what the world does."""


class OutsideOfRun(EdgedagError):
    """This code was not started by edgedag."""

    def __init__(self, name: str):
        super().__init__(
            "%s is not set: this code runs outside of edgedag; start it as a task with"
            " `edgedag run`, or set EDGEDAG_STORE to the socket of a Redis server" % name
        )


class StoreUnreachable(EdgedagError):
    """The store cannot be reached, or has closed the connection."""


class StoreError(EdgedagError):
    """The store has answered with an error, whose text this is."""


class WaitTimeout(EdgedagError, TimeoutError):
    """The event did not come in time."""
