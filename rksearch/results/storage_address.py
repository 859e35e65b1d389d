"""Addresses of storages: absolute ones, and none with credentials, which records and messages would repeat."""

from __future__ import annotations

import re
from urllib.parse import quote

from rksearch.errors import RunError
from rksearch.ordinary import expanded

HARMLESS = frozenset(
    {"region", "scheme", "endpoint_override", "allow_bucket_creation", "allow_bucket_deletion", "anonymous"}
    | {"force_virtual_addressing", "retry_limit_seconds", "use_ssl", "replication", "buffer_size"}
)
"""Parameters of an address that are no secrets; others are taken for one."""

HIDDEN = "***"
"""What messages and records show in place of a secret."""

VERBATIM = ("fsspec+", "hf://")
"""How addresses begin whose names are taken as they are: fsspec decodes none."""

_USER = re.compile(r"(?<=://)[^\s?]*:[^\s?]*@")  # secrets of S3 hold slashes
_PARAMETER = re.compile(r"([?&])([^=&#\s]+)=([^&#\s]*)")


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


def without_credentials(text: str) -> str:
    """The text with user, password and parameters hidden in every address that it holds.

    Names of machines, paths and parameters that are no secrets stay.
    """
    if "://" not in text:
        return text
    hidden = _USER.sub(f"{HIDDEN}@", text)
    return _PARAMETER.sub(lambda found: found[0] if found[2] in HARMLESS else f"{found[1]}{found[2]}={HIDDEN}", hidden)


def require_no_credentials(address: str) -> None:
    """Refuse an address that holds a secret: the ledger, a process list and the shell's history would show it.

    Raises:
        RunError: it does; the message repeats none of it.
    """
    if "://" not in address:
        return
    secret = _USER.search(address) is not None or any(
        found[2] not in HARMLESS for found in _PARAMETER.finditer(address)
    )
    if secret:
        raise RunError(
            f"--storage must name no user, password, key or token, but got {without_credentials(address)!r}; give "
            "them as the storage's own tools do: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, "
            "GOOGLE_APPLICATION_CREDENTIALS, ..."
        )
