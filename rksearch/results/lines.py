"""Lines of the ledger: an event as one line of JSON with a checksum, and back.

A line of schema 2 is `{"schema":2,"event":...,"time":...,...,"crc":"89abcdef"}`. `crc` is the CRC-32 (as `zlib.crc32`
computes it, eight lower-case hex digits) of the line's bytes without `,"crc":"89abcdef"`. CRC-32 detects every single
flipped bit and every burst of up to 32; that `schema` stands first and `crc` last detects a flip in either key. Lines
of schema 1 have no checksum.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from rksearch.errors import RksearchError
from rksearch.results import schema1
from rksearch.results.checks import Missing, printable, problem_of, unregistered
from rksearch.results.codec import from_plain, to_json_bytes
from rksearch.results.events import EVENTS, Event, RunPlanned

SCHEMA = 2

_CHECKSUM = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')


class DamagedLineError(Exception):
    """A line that cannot be read; `field` names what is wrong, where that is known."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Damage:
    """A line of the ledger that could not be read.

    Attributes:
        line: its number, counted from 1.
        record: its event, and its trial where it has one: `trial ResNet-20@0`; empty where it is not JSON.
        field: path of the value that is wrong, `result.params` for one; empty where the whole line is.
        reason: the rule and the value.
    """

    line: int
    record: str
    field: str
    reason: str

    def __str__(self) -> str:
        where = f"line {self.line} ({self.record})" if self.record else f"line {self.line}"
        return f"{where}: {f'{self.field}: ' if self.field else ''}{self.reason}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line of the ledger that is intact and left out, because this installation does not know what it names.

    Attributes:
        line: its number, counted from 1.
        record: its event, and its trial where it has one, as in `Damage`.
        missing: what it names and is not registered; empty for an event of a later version.
    """

    line: int
    record: str
    missing: tuple[Missing, ...] = ()

    @property
    def reason(self) -> str:
        """What is not known here, and what to do."""
        if not self.missing:
            return "this version of rksearch knows no such event; install the one that wrote it"
        return f"{' and '.join(map(str, self.missing))} must be registered; install the plugin that brings it"

    def __str__(self) -> str:
        return f"line {self.line} ({self.record}): {self.reason}"


class Line(NamedTuple):
    """A line that was read.

    Attributes:
        time: when it was written (ISO 8601).
        event: None for an event of a later version, and for a result of a network that is not known here.
        missing: what it names and is not registered: its plugin is not installed, so that the line is no damage.
    """

    time: str
    event: Event | None
    missing: tuple[Missing, ...] = ()


def written(event: Event, time: str) -> bytes:
    """The line of an event, with its line feed."""
    head = f'{{"schema":{SCHEMA},"event":"{event.event}","time":"{time}",'.encode()
    return sealed(head + to_json_bytes(event)[1:])


def sealed(body: bytes) -> bytes:
    """The line of a JSON object: with its checksum as the last key, and a line feed."""
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def intact(line: bytes) -> bool | None:
    """Whether the checksum of a line, without its line feed, is right; None for a line that has none."""
    checksum = _CHECKSUM.search(line)
    return None if checksum is None else zlib.crc32(line[: checksum.start()] + b"}") == int(checksum[1], 16)


def read_line(line: bytes) -> Line:
    """The event of a line, without its line feed.

    Raises:
        DamagedLineError: the line breaks a rule.
    """
    try:
        record = _record(line)
        later = _later(record)
        time = _text(record, "time")
        _check_time(time)
        name = _text(record, "event")
    except (ValueError, RecursionError) as error:
        raise DamagedLineError("", f"a record is JSON with an event and a time ({error})") from None
    kind = EVENTS.get(name)
    if kind is None:
        return Line(time, None)
    try:
        event = _event(kind, record)
    except DamagedLineError as error:
        raise DamagedLineError(error.field, error.reason + later) from None
    # Schema 1 knew no plugins and no checksums: there, an unknown name is damage.
    missing = unregistered(event) if "crc" in record else ()
    if missing and not isinstance(event, RunPlanned):
        return Line(time, None, missing)
    if problem := problem_of(event):
        raise DamagedLineError(problem[0], problem[1] + later)
    return Line(time, event, missing)


def described(line: bytes) -> str:
    """The event and the trial of a damaged line, `trial ResNet-20@0`; empty where it is not JSON or has no event."""
    try:
        record = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return ""
    found = (record.get("event"), record.get("trial")) if isinstance(record, dict) else ()
    return " ".join(printable(text) for text in found if isinstance(text, str))


def _record(line: bytes) -> dict[str, Any]:
    right = intact(line)
    if right is False:
        raise DamagedLineError("crc", "the checksum differs from that of the line")
    record = msgspec.json.decode(line)
    if not isinstance(record, dict):
        raise ValueError(f"got {type(record).__name__}")
    if right is None and (record.get("schema", 1) != 1 or line.startswith(b'{"schema"')):
        raise DamagedLineError("crc", "the checksum is missing")
    return record


def _check_time(text: str) -> None:
    """Make sure that a time can be compared with others.

    Raises:
        ValueError: it is no time, has no zone, or lies beyond the years that zones can be changed in.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or not 1970 <= time.year <= 9000:
        raise ValueError(f"time is {text!r}")


def _later(record: Mapping[str, Any]) -> str:
    """What to do about a record of a later schema that cannot be read, in words; empty for the schemas known here.

    Raises:
        ValueError: its schema is no number of one.
    """
    schema = record.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError(f"schema is {schema!r}")
    return f" (a later version wrote it, with schema {schema}; install that)" if schema > SCHEMA else ""


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}")
    return value


def _event(kind: type[Event], record: dict[str, Any]) -> Event:
    """The event of a record.

    Raises:
        DamagedLineError: a value has the wrong type, or breaks a rule of its own.
    """
    try:
        schema1.require_keys(record)
        if record.get("schema", 1) == 1:
            record = schema1.upgraded(record)
        event = from_plain(kind, record)
    except schema1.MissingKeyError as error:
        raise DamagedLineError(error.field, "the key is missing") from None
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$")
        field = path.strip("`.")
        value = "" if "but got" in rule else _value_text(record, field)
        raise DamagedLineError(field, f"{rule}{value}") from None
    except RksearchError as error:  # a record's own rule, which names its field
        raise DamagedLineError("", str(error)) from None
    except RecursionError:
        raise DamagedLineError("", "the record is nested too deeply") from None
    return event


def _value_text(record: Any, field: str) -> str:
    """The value at a path such as `result.epochs[3].lr`, in words for a message; empty where there is none."""
    for key in re.findall(r"[^.\[\]]+", field):
        try:
            record = record[int(key)] if isinstance(record, list) else record[key]
        except (LookupError, TypeError, ValueError):
            return ""
    text = repr(record)
    return f", but the value is {text if len(text) < 60 else text[:57] + '...'}" if field else ""
