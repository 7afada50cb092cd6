"""``encode`` and ``decode``: entries as blocks of bytes, and back. Pure.

A row of the database for each event spends most of its bytes, and of its time, on saying the same
thing again: the fields that make events alike are few. So up to ``BLOCK`` entries are one block:
their **keys** (the distinct combinations of all that a binding matches on but the body, once
each), and their **rows** (key, id, timestamp, body), compressed. Matching asks each key once, and
a block of which no key is wanted is never decompressed. 256 is the knee: larger ones save little
more, and cost a consumer of few entries too much.

Three **masks** of 63 bits say which levels, apps and accounts are in a block, so that the database
passes over blocks without looking into them, and no index has to be maintained. A bit may be set
by another name that shares it, never unset for one that is there.

Everything in a block is covered by a checksum: the **header** (all columns before the keys) by
``header_crc``, keys and rows by one each, over the bytes as they are stored. A checksum is compared
before anything that it covers is used. Bytes that pass were written by ``encode``, from events that
were valid, so ``decode`` fills events directly, as the bus stamps them, for a third of what
validating costs. Equality with the validated event is a property test.

Rejected: integers for times (text decodes faster); MessagePack (orjson is faster than any codec of
it); a dictionary for the compressor (a fifth smaller, and a version to keep for ever).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson
from pydantic import BaseModel

from edr.journal.journal import Entry
from edr.records import Event, FrozenDict, Severity, Verbosity, frozen_dict, snapshot

BLOCK = 256
"""The most entries in a block."""

COMPRESSED_FROM = 16
"""Entries from which a block is compressed; fewer have too little in common to be worth it."""

Key: TypeAlias = tuple[str | None, tuple[str, ...], str, str, str, str, str]
"""Account, tree, app, version, node, severity, verbosity."""


class Row(NamedTuple):
    """An event as a block stores it."""

    key: Key
    data: bytes
    """The JSON of id, timestamp and body: an array, without its opening bracket.

    An object of optional fields by name follows, in the rows of events that have such fields."""


Recorded: TypeAlias = tuple[Row, int]
"""An event's row, and when it was recorded, in microseconds since 1970."""


class Block(NamedTuple):
    """Up to ``BLOCK`` entries, as they are stored. ``keys`` and ``rows`` are the bytes."""

    first: int
    last: int
    since: int
    """When the first was recorded, in microseconds since 1970."""
    until: int
    """When the last was."""
    levels: int
    apps: int
    accounts: int
    keys_crc: int
    rows_crc: int
    compressed: int
    header_crc: int
    keys: bytes = b""
    rows: bytes = b""

    @property
    def size(self) -> int:
        """How many entries it holds; their positions are dense."""
        return self.last - self.first + 1

    @property
    def bytes(self) -> int:
        """How much of the disk it takes, but for its header."""
        return len(self.keys) + len(self.rows)

    def check(self) -> None:
        """Compare the whole block with its checksums.

        Raises:
            DamagedBlockError: the block is not as it was written.
        """
        check_header(self)
        _plain(self.keys, self.keys_crc, self.compressed)
        _plain(self.rows, self.rows_crc, self.compressed)


HEADER: tuple[str, ...] = Block._fields[:-2]
"""The columns of a block except for its keys and rows."""

_pack_header = struct.Struct(f">{len(HEADER) - 1}q").pack


class DamagedBlockError(Exception):
    """A block is not as it was written."""


def check_header(header: Sequence[Any]) -> None:
    """Compare the columns of a header, as the database gave them, with their checksum.

    Raises:
        DamagedBlockError: a column has another value, or another type, than was written.
    """
    size = len(HEADER) - 1
    try:
        if zlib.crc32(_pack_header(*header[:size])) == header[size]:
            return
    except struct.error:  # not an integer
        pass
    raise DamagedBlockError


def row_of(event: Event) -> Row:
    """Return the row of ``event``. It raises for what was made past pydantic's checks."""
    fields = event.__dict__
    key = (
        fields["account_id"],
        fields["account_tree"],
        fields["app_name"],
        fields["app_version"],
        fields["node"],
        fields["severity"],
        fields["verbosity"],
    )
    data: tuple[Any, ...] = (fields["id"], fields["timestamp"], fields["body"])
    if fields["traceparent"] is not None:
        data += ({"traceparent": fields["traceparent"]},)
    return Row(key, orjson.dumps(data, option=orjson.OPT_UTC_Z)[1:])


def encode(first: int, recorded: Sequence[Recorded]) -> Block:
    """Make a block of ``recorded``, the first of which is at position ``first``."""
    numbers: dict[Key, int] = {}
    rows = []
    times: list[list[int]] = []
    last_time = None
    for (key, row), time in recorded:
        rows.append(b"[%d,%b" % (numbers.setdefault(key, len(numbers)), row))
        if time == last_time:
            times[-1][0] += 1
        else:
            times.append([1, time])
            last_time = time
    since, until = times[0][1], times[-1][1]
    keys = orjson.dumps((list(numbers), times))
    data = b"[%b]" % b",".join(rows)
    compressed = len(rows) >= COMPRESSED_FROM
    if compressed:
        keys, data = zlib.compress(keys, 1), zlib.compress(data, 1)
    masks = masks_of(numbers)
    crcs = zlib.crc32(keys), zlib.crc32(data)
    header = (first, first + len(rows) - 1, since, until, *masks, *crcs, int(compressed))
    return Block(*header, zlib.crc32(_pack_header(*header)), keys, data)


class Keys(NamedTuple):
    """What a block says of its entries without its rows."""

    keys: list[Key]
    times: list[tuple[int, int]]
    """How many entries, one after the other, were recorded at which microsecond."""


def decode_keys(block: Block) -> Keys:
    """Read the keys of ``block``.

    Raises:
        DamagedBlockError: they are not those that were written.
    """
    keys, times = orjson.loads(_plain(block.keys, block.keys_crc, block.compressed))
    return Keys([(key[0], tuple(key[1]), *key[2:]) for key in keys], times)


Wanted: TypeAlias = bool | Callable[[FrozenDict], bool]
"""Whether entries of a key are wanted; a function, if that is for the body to say."""


def decode(block: Block, keys: Keys, wanted: Sequence[Wanted], after: int) -> list[Entry]:
    """Return the entries of ``block`` behind position ``after`` whose key is wanted.

    Raises:
        DamagedBlockError: the rows are not those that were written.
    """
    plain = _plain(block.rows, block.rows_crc, block.compressed)
    rows = orjson.loads(plain)
    # As many braces as bodies, and as many brackets as rows and one: no body has a container in
    # it, and no row has optional fields. A brace within a text only makes it look as if.
    is_flat = plain.count(b"{") == len(rows) and plain.count(b"[") == len(rows) + 1
    optional = {} if is_flat else _take_optional(rows)
    freeze: Callable[[dict[str, Any]], FrozenDict] = frozen_dict if is_flat else _frozen
    templates = [_fields_of(key) for key in keys.keys]
    times = _spread(keys.times)
    parse, make = datetime.fromisoformat, _make
    entries = []
    start = max(0, after + 1 - block.first)
    position = block.first + start
    for (number, event_id, timestamp, body), time in zip(rows[start:], times[start:], strict=True):
        want = wanted[number]
        if want:
            frozen = freeze(body)
            if want is True or want(frozen):
                fields = templates[number].copy()
                fields["body"] = frozen
                fields["id"] = event_id
                fields["timestamp"] = parse(timestamp)
                event = make(Event)
                fields_set = _FIELDS.copy()
                if optional and (more := optional.get(position - block.first)):
                    fields.update(more)
                    fields_set.update(more)
                _set_fields(event, fields)
                _set_fields_set(event, fields_set)
                _set_extra(event, None)
                _set_private(event, None)
                entries.append(_new_entry(Entry, (position, time, event, 1)))
        position += 1
    return entries


def key_event(key: Key) -> Event:
    """Return an event of this key, with nothing in its body: for matching all but that."""
    fields = _fields_of(key)
    fields.update(body=_NO_BODY, id="-", timestamp=_EPOCH)
    event = _make(Event)
    _set_fields(event, fields)
    _set_fields_set(event, _FIELDS.copy())
    _set_extra(event, None)
    _set_private(event, None)
    return event


# Masks


def masks_of(keys: Iterable[Key]) -> tuple[int, int, int]:
    """Return the bits of levels, of apps, and of accounts with those above, of all ``keys``."""
    levels = apps = accounts = 0
    for account, tree, app, _, _, severity, verbosity in keys:
        levels |= level_bit(severity, verbosity)
        apps |= name_bit(app)
        if account is not None:
            accounts |= name_bit(account)
        for above in tree:
            accounts |= name_bit(above)
    return levels, apps, accounts


def level_bit(severity: str, verbosity: str) -> int:
    """Return the bit of a pair of levels; each has its own."""
    return _LEVEL_BITS[severity, verbosity]


def name_bit(name: str) -> int:
    """Return the bit of an app or account; 63 share all names. The same in every process."""
    return 1 << zlib.crc32(name.encode()) % 63


# Times


def microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Undo ``microseconds``."""
    return _EPOCH + timedelta(microseconds=microseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _spread(times: Iterable[tuple[int, int]]) -> list[datetime]:
    spread: list[datetime] = []
    for count, time in times:
        spread += [time_of(time)] * count
    return spread


# Inner parts

L = TypeVar("L", Severity, Verbosity)
_SEVERITIES = {level.value: level for level in Severity}
_VERBOSITIES = {level.value: level for level in Verbosity}
_LEVEL_BITS = {
    (severity.value, verbosity.value): 1 << number
    for number, (severity, verbosity) in enumerate(
        [(severity, verbosity) for severity in Severity for verbosity in Verbosity]
    )
}
_NO_BODY = frozen_dict({})
_CONTAINERS = (dict, list)
_ROW_SIZE = 4
"""Key, id, timestamp and body."""

# The slots of a pydantic instance, as the bus's template sets them.
_OPTIONAL = frozenset({"traceparent"})
_FIELDS = set(Event.model_fields) - _OPTIONAL
_make = object.__new__
_new_entry = tuple.__new__
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def _fields_of(key: Key) -> dict[str, Any]:
    account, tree, app, version, node, severity, verbosity = key
    return {
        "account_id": account,
        "account_tree": tree,
        "app_name": app,
        "app_version": version,
        "body": None,
        "id": None,
        "node": node,
        "severity": _SEVERITIES[severity],
        "verbosity": _VERBOSITIES[verbosity],
        "timestamp": None,
        "traceparent": None,
    }


def _take_optional(rows: list[list[Any]]) -> dict[int, dict[str, Any]]:
    """Remove the optional fields from ``rows``, and return those that are known, by row number."""
    return {
        number: {name: value for name, value in row.pop().items() if name in _OPTIONAL}
        for number, row in enumerate(rows)
        if len(row) > _ROW_SIZE
    }


def _frozen(body: dict[str, Any]) -> FrozenDict:
    for value in body.values():
        if type(value) in _CONTAINERS:
            return snapshot(body)
    return frozen_dict(body)


def _plain(stored: Any, crc: int, compressed: int) -> bytes:
    if not isinstance(stored, bytes) or zlib.crc32(stored) != crc:
        raise DamagedBlockError
    return zlib.decompress(stored) if compressed else stored
