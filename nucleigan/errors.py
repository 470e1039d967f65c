"""The one error type that a person can act on."""

import reprlib


class NucleiganError(Exception):
    """Something that a person can mend.

    The message is one sentence that names the file or key, what was found, what was expected,
    and what to do. Whoever catches it prints the message alone, without a traceback, and exits
    with a status that is not 0.
    """


class PassingError(NucleiganError):
    """One that the same job may not meet again: with more memory, or on another machine."""


def shown(value: object, length: int = 80) -> str:
    """What a file says, fit for a message: one line, no control characters, of limited length."""
    text = reprlib.repr(value) if not isinstance(value, str) else value
    text = "".join(
        character if character.isprintable() else " " for character in text[: length + 1]
    )
    return text if len(text) <= length else text[: length - 1] + "…"


def reason(error: Exception) -> str:
    """What an error of a library says, on one line; its kind where it says nothing."""
    return shown(" ".join(str(error).split()), 200) or type(error).__name__
