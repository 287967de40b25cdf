"""Errors whose message is all that the user needs: his mistake, or a fault of the machine."""


class UserError(ValueError):
    """A mistake of the user's; the message says what was given, what is allowed, what to do.

    Command lines print the message without a traceback and exit with status 2.
    """


class MachineError(Exception):
    """A fault of the machine: a full disk, a locked database, no memory.

    The message says what happened, what was kept, what to do. Command lines print it without a
    traceback and exit with status 3.
    """
