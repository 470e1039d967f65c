"""The one error type that a person can act on."""


class NucleiganError(Exception):
    """Something that a person can mend.

    The message is one sentence that names the file or key, what was found, what was expected,
    and what to do. Whoever catches it prints the message alone, without a traceback, and exits
    with a status that is not 0.
    """
