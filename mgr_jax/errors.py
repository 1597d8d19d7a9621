"""The one exception for what a user can put right."""


class UserError(Exception):
    """A mistake in a flag, a config or the data: one line that names it and says what to do.

    The commands print the message without a traceback and exit with code 1.
    """
