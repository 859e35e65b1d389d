"""Addresses of storages: absolute ones, and none with credentials, which records and messages would repeat."""

from __future__ import annotations

from urllib.parse import quote

from rksearch.errors import RunError, without_credentials
from rksearch.ordinary import expanded

VERBATIM = ("fsspec+", "hf://")
"""How addresses begin whose names are taken as they are: fsspec decodes none."""


def absolute_address(address: str) -> str:
    """The address in a form for every process of every machine: a path is made absolute, a URI left as it is.

    Raises:
        RunError: it lies in a home directory that is not known.
    """
    return address if "://" in address else str(expanded(address, RunError).absolute())


def beneath(address: str, *names: str) -> str:
    """Address of what lies beneath another one, by the name of each directory on the way.

    In a URI, what is neither a letter nor a digit nor one of `_.-~@` is encoded, and parameters stay at the end.
    """
    if "://" not in address or address.startswith(VERBATIM):
        return "/".join((address.rstrip("/"), *names))
    place, mark, parameters = address.partition("?")
    return "/".join((place.rstrip("/"), *(quote(name, safe="@") for name in names))) + mark + parameters


def require_no_fragment(address: str) -> None:
    """Refuse an address with a `#`: what follows it in a URI names no place, and would be dropped.

    Raises:
        RunError: it has one.
    """
    if "://" in address and "#" in address and not address.startswith(VERBATIM):
        raise RunError(
            f"--storage must be a URI without #, after which nothing counts, but got {without_credentials(address)!r}; "
            "write %23 for a # that belongs to a name"
        )


def require_no_credentials(address: str) -> None:
    """Refuse an address that holds a secret: the ledger, a process list and the shell's history would show it.

    Raises:
        RunError: it does; the message repeats none of it.
    """
    shown = without_credentials(address)
    if shown != address:
        raise RunError(
            f"--storage must name no user, password, key or token, but got {shown!r}; give "
            "them as the storage's own tools do: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, "
            "GOOGLE_APPLICATION_CREDENTIALS, ..."
        )
