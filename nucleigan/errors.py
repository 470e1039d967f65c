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


# What a person can mend of devices, servers, permissions and limits, by the number of the system's
# error, whatever a file holds.
SERVER = "its server does not answer; look at the mount, then run the same command again."
FILES = "too many files are open; raise the limit (ulimit -n), or run fewer jobs (--cores)."
WHAT_TO_DO = {
    errno.ENOSPC: "no space is left on its device; free some, then run the same command again.",
    errno.EDQUOT: "the quota of its device is used up; free some, then run the same command again.",
    errno.EROFS: "its device takes no writing; mount it writable, or choose another `results`.",
    errno.EACCES: "this user may not go there; change its permissions, or choose another folder.",
    errno.EIO: "the device fails; what is on it may be damaged: look at the machine's own log.",
    errno.EPERM: "this user may not do that; change its permissions, or choose another folder.",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), FILES),
    **dict.fromkeys((errno.ENOTCONN, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT), SERVER),
}
# What PyTorch, drivers and libraries say of a GPU's memory.
GPU_WORDS = (
    "cuda out of memory",
    "cuda error: out of memory",
    # Of its library for several GPUs.
    "cuda failure 2 'out of memory'",
    "hip out of memory",
    "alloc_failed",
)
# And of the machine's; the last is all that its library of layers for CPUs has to say.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "could not create a primitive")


def let_through(error: Exception) -> None:
    """Raise an error of the machine, which says nothing of the file that was read.

    For handlers of whatever a damaged file makes its reader raise.
    """
    failed = isinstance(error, OSError) and error.errno in WHAT_TO_DO
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
