"""The exception for errors that the user can correct."""


class UserError(Exception):
    """An error in a flag, a config or the data; one line names it and says what to do.

    The commands print the message without a traceback and exit with code 1.
    """
