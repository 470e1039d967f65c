"""The one error type that a person can act on."""

import errno
import reprlib


class NucleiganError(Exception):
    """Something that a person can mend.

    The message is one sentence that names the file or key, what was found, what was expected,
    and what to do. Whoever catches it prints the message alone, without a traceback, and exits
    with a status that is not 0.
    """


class PassingError(NucleiganError):
    """One that the same job may not meet again: with more memory, or on another machine."""


# Errors of devices, servers, permissions and limits, whatever a file holds.
OF_THE_MACHINE = {
    errno.EACCES,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOTCONN,
    errno.EPERM,
    errno.EREMOTEIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
# What PyTorch, drivers and libraries say of a GPU's memory.
GPU_WORDS = ("cuda out of memory", "cuda error: out of memory", "hip out of memory", "alloc_failed")
# And of the machine's; the last is all that its library of layers for CPUs has to say.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "could not create a primitive")


def let_through(error: Exception) -> None:
    """Raise an error of the machine, which says nothing of the file that was read.

    For handlers of whatever a damaged file makes its reader raise.
    """
    failed = isinstance(error, OSError) and error.errno in OF_THE_MACHINE
    if failed or lacks_memory(error) or _says(error, ("cuda error",)):
        raise error


def lacks_memory(error: Exception) -> bool:
    """Whether there is too little memory, of the machine or of a GPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # PyTorch says so in a RuntimeError.
    return isinstance(error, MemoryError) or _says(error, GPU_WORDS + OUT_OF_MEMORY)


def overfills_gpu(error: Exception) -> bool:
    """Whether a GPU has too little memory."""
    return _says(error, GPU_WORDS)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in said for part in words)


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
