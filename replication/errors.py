"""The one exception that the project raises for bad input: one line that names the thing and the way out."""


class ReplicationError(Exception):
    """Bad input or a damaged file; the message names it and says what to do. Commands print it and exit with 1."""

    reported = False  # True where another process of the same command prints it
