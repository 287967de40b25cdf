"""The one error that means: the user's mistake, said in the message."""


class UserError(ValueError):
    """A mistake of the user's; the message says what was given, what is allowed, what to do.

    Command lines print the message without a traceback and exit with status 2.
    """
