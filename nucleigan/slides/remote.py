"""Slides on web servers and in object stores: their addresses, and patience with their servers.

The transfer itself is that of Snakemake's storage plugins.
"""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from nucleigan.errors import NucleiganError, shown

# The package that fetches from addresses of a scheme.
PLUGINS = {
    "http": "snakemake_storage_plugin_http",
    "https": "snakemake_storage_plugin_http",
    "s3": "snakemake_storage_plugin_s3",
}
# Answers that may be better a moment later, how often to ask again, and the first pause, seconds.
PASSING = (429, 500, 502, 503, 504)
TRIES, PAUSE = 3, 0.5
CONNECT_SECONDS = 10.0


def is_address(text: str) -> bool:
    """Whether an entry of the sheet names a file elsewhere, ``scheme://…``."""
    return "://" in text


def check_address(text: str, what: str) -> None:
    """Refuse an address that cannot be fetched, or that holds a password.

    Parameters
    ----------
    text
        The address.
    what
        Where it stands, for the message.

    Raises
    ------
    NucleiganError
        Names what was found and what to do.
    """
    try:
        parts = urlsplit(text)
        user, host = parts.username or parts.password, parts.hostname
    except ValueError as error:
        raise NucleiganError(
            f"{what} is {shown(text)!r}, which is no address ({error}); correct it."
        ) from error
    if user:
        # Not shown: it would end in logs.
        raise NucleiganError(
            f"{what} holds a user's name or password; expected a plain address: give credentials "
            "to Snakemake (docs/remote.md)."
        )
    if parts.scheme not in PLUGINS:
        raise NucleiganError(
            f"{what} is {shown(text)!r}; expected a path, or an address that begins with "
            f"{', '.join(f'{scheme}://' for scheme in PLUGINS)}."
        )
    if not host or not parts.path.strip("/"):
        raise NucleiganError(
            f"{what} is {shown(text)!r}, which names no file; expected scheme://server/path."
        )
    if any(part in ("", ".", "..") for part in _segments(text)):
        # The plugins keep what they fetch under these names, and delete it afterwards.
        raise NucleiganError(
            f"{what} is {shown(text)!r}, whose path has an empty part, `.` or `..`; give the plain "
            "address of the file."
        )
    package = PLUGINS[parts.scheme]
    if find_spec(package) is None:
        name = package.replace("_", "-")
        raise NucleiganError(
            f"{what} is an address of {parts.scheme}://, which needs a package that is not "
            f"installed; run `pip install {name}`."
        )


def check_apart(addresses: Iterable[str], what: str) -> None:
    """Refuse two addresses whose files the plugins would keep under one name.

    Raises
    ------
    NucleiganError
        Names both.
    """
    places: dict[tuple[str, ...], str] = {}
    for address in addresses:
        place = (PLUGINS[urlsplit(address).scheme], *_segments(address))
        first = places.setdefault(place, address)
        if first != address:
            raise NucleiganError(
                f"{what}: {shown(first, 200)} and {shown(address, 200)} differ in their scheme or "
                "query alone, and would be fetched to one place; give each file a path of its own."
            )


def _segments(address: str) -> list[str]:
    """Server and parts of the path, as a server or a file system may come to read them."""
    parts = urlsplit(address)
    path, before = parts.path, ""
    while path != before:
        path, before = unquote(path), path
    return [parts.netloc, *path.replace("\\", "/").split("/")[1:]]


def set_patience(silence: float, max_bytes: int) -> None:
    """Let later transfers try again, and end when a server falls silent or sends too much.

    Without it the HTTP transfers of Snakemake's plugins wait for ever, fill the disk, and take a
    server's page of errors for the file; those from buckets try again by themselves, but wait a
    minute each time. It changes ``requests``, ``botocore`` and the plugin for buckets for the whole
    process, which here is Snakemake's.

    Parameters
    ----------
    silence
        Longest time without a byte from the server, seconds.
    max_bytes
        Largest file that is fetched.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Patient(HTTPAdapter):
        def __init__(self, **arguments: Any) -> None:
            tries = Retry(
                TRIES, backoff_factor=PAUSE, status_forcelist=PASSING, raise_on_status=False
            )
            super().__init__(**{"max_retries": tries, **arguments})

        def send(self, request: Any, *_: Any, **arguments: Any) -> requests.Response:
            arguments["timeout"] = arguments.get("timeout") or (CONNECT_SECONDS, silence)
            answer = super().send(request, **arguments)
            # Whether the file is there is asked by HEAD; what GET brings is taken for the file.
            if request.method == "GET" and not answer.is_redirect:
                answer.raise_for_status()
                announced = answer.headers.get("Content-Length", "")
                if announced.isdigit():
                    _check_sent(str(request.url), int(announced), max_bytes)
                # Plugins read it from here, and it may be more than is announced, if anything is.
                answer.raw = _Counted(answer.raw, str(request.url), max_bytes)
            return answer

    requests.sessions.HTTPAdapter = Patient  # type: ignore[misc, assignment]
    if find_spec(PLUGINS["s3"]) is not None:
        import snakemake_storage_plugin_s3 as buckets
        from botocore.config import Config

        Config.OPTION_DEFAULTS |= {"connect_timeout": CONNECT_SECONDS, "read_timeout": silence}
        retrieve = buckets.StorageObject.retrieve_object

        def retrieve_within(self: Any) -> None:
            # No more than that is read of what a bucket sends.
            _check_sent(self.query, self.size(), max_bytes)
            retrieve(self)

        buckets.StorageObject.retrieve_object = retrieve_within


class _Counted:
    """What a server sends, up to a number of bytes; otherwise as urllib3 gives it."""

    def __init__(self, raw: Any, address: str, max_bytes: int) -> None:
        self._raw, self._address, self._most = raw, address, max_bytes
        self._read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Whoever reads it may set how it is decoded.
        own = name in ("_raw", "_address", "_most", "_read")
        (object.__setattr__(self, name, value) if own else setattr(self._raw, name, value))

    def read(self, *arguments: Any, **keywords: Any) -> bytes:
        """Some of it."""
        return self._counted(self._raw.read(*arguments, **keywords))

    def stream(self, *arguments: Any, **keywords: Any) -> Iterator[bytes]:
        """All of it, part by part."""
        yield from map(self._counted, self._raw.stream(*arguments, **keywords))

    def _counted(self, part: bytes) -> bytes:
        self._read += len(part)
        _check_sent(self._address, self._read, self._most)
        return part


def _check_sent(address: str, found: int, most: int) -> None:
    if found > most:
        raise NucleiganError(
            f"{shown(address, 200)}: the server sends {found} bytes or more, above the {most} of "
            "ingestion.max_fetched_bytes; raise the limit, or correct the address."
        )
