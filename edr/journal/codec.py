"""``encode`` and ``decode``: convert entries to stored blocks, and back. Pure.

The fields that events share would be repeated in each row of a table with one event per row. So up
to ``MAX_BLOCK_ENTRIES`` entries form one block. It has **keys**, the distinct combinations of all
fields that a binding matches except the body, and **rows** (key number, id, timestamp, body).
Both are compressed. A reader matches each key once, and does not decompress a block without a
matching key. Blocks above 256 entries save little more space and slow down selective readers.

Three **masks** of 63 bits tell which levels, apps and accounts a block contains. A reader skips
blocks by their masks, so the database needs no index. Several names may share a bit, so a set bit
means "may contain"; the bit of a name in the block is always set.

Checksums cover the whole block: ``header_crc`` all columns before the keys, and one each the stored
bytes of keys and rows. Each checksum is compared before the data that it covers is used. Bytes that
pass the check were written by ``encode`` from valid events. So ``decode`` fills events directly,
as the bus does, for a third of the cost of validation. A property test checks that the result
equals the validated event.

Rejected: integers for times (text decodes faster); MessagePack (orjson is faster than any codec for
it); a compression dictionary (saves a fifth, but each version of it must be kept permanently).
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
from edr.records import FIELDS_SET, Event, FrozenDict, Severity, Verbosity, frozen_dict, snapshot

MAX_BLOCK_ENTRIES = 256
"""Entries in a block, at most. Larger blocks save little and slow down selective readers."""

COMPRESSED_FROM = 16
"""Entries from which a block is compressed. Smaller blocks shrink too little to pay for it."""

Key: TypeAlias = tuple[str | None, tuple[str, ...], str, str, str, str, str]
"""Account, tree, app, version, node, severity, verbosity."""


class Row(NamedTuple):
    """An event as a block stores it."""

    key: Key
    data: bytes
    """The JSON of id, timestamp and body: an array, without its opening bracket.

    An object of optional fields by name follows, in the rows of events that have such fields."""


Recorded: TypeAlias = tuple[Row, int]
"""The row of an event, and when it was recorded, in microseconds since 1970."""


class Block(NamedTuple):
    """Up to ``MAX_BLOCK_ENTRIES`` entries as stored. ``keys`` and ``rows`` are encoded."""

    first: int
    last: int
    since: int
    """When the first entry was recorded, in microseconds since 1970."""
    until: int
    """When the last entry was recorded."""
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
        """Number of entries. Their positions are consecutive."""
        return self.last - self.first + 1

    @property
    def bytes(self) -> int:
        """Bytes of its keys and rows."""
        return len(self.keys) + len(self.rows)

    def check(self) -> None:
        """Verify all checksums of the block.

        Raises:
            DamagedBlockError: a checksum does not match.
        """
        check_header(self)
        _plain(self.keys, self.keys_crc, self.compressed)
        _plain(self.rows, self.rows_crc, self.compressed)


HEADER: tuple[str, ...] = Block._fields[:-2]
"""The columns of a block except its keys and rows."""

_pack_header = struct.Struct(f">{len(HEADER) - 1}q").pack


class DamagedBlockError(Exception):
    """A checksum of a block does not match."""


def check_header(header: Sequence[Any]) -> None:
    """Verify the checksum of a header, given as the columns that the database returned.

    Raises:
        DamagedBlockError: the value or type of a column differs from the written one.
    """
    size = len(HEADER) - 1
    try:
        if zlib.crc32(_pack_header(*header[:size])) == header[size]:
            return
    except struct.error:  # not an integer
        pass
    raise DamagedBlockError


def row_of(event: Event) -> Row:
    """Return the row of ``event``. It may raise anything if the event was not validated."""
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
    """Return ``recorded`` as a block that begins at position ``first``."""
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
    """The decoded keys of a block."""

    keys: list[Key]
    times: list[tuple[int, int]]
    """Pairs of a number of consecutive entries and the microsecond they were recorded at."""


def decode_keys(block: Block) -> Keys:
    """Return the keys of ``block``.

    Raises:
        DamagedBlockError: their checksum does not match.
    """
    keys, times = orjson.loads(_plain(block.keys, block.keys_crc, block.compressed))
    return Keys([(key[0], tuple(key[1]), *key[2:]) for key in keys], times)


KeyMatch: TypeAlias = bool | Callable[[FrozenDict], bool]
"""Whether entries with a key match. A function of the body, if the key does not decide."""


def decode(block: Block, keys: Keys, matches: Sequence[KeyMatch], after: int) -> list[Entry]:
    """Return the entries of ``block`` after position ``after`` that match.

    Args:
        block: with its keys and rows.
        keys: its decoded keys.
        matches: for each key, whether its entries match.
        after: skip entries up to this position.

    Raises:
        DamagedBlockError: the checksum of the rows does not match.
    """
    plain = _plain(block.rows, block.rows_crc, block.compressed)
    rows = orjson.loads(plain)
    # With one brace per body and one bracket per row plus one, no body contains a container, and no
    # row has optional fields. A brace within a string only leads to the slower, general path.
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
        match = matches[number]
        if match:
            frozen = freeze(body)
            if match is True or match(frozen):
                fields = templates[number].copy()
                fields["body"] = frozen
                fields["id"] = event_id
                fields["timestamp"] = parse(timestamp)
                event = make(Event)
                fields_set = FIELDS_SET
                if optional and (more := optional.get(position - block.first)):
                    fields.update(more)
                    fields_set = {*FIELDS_SET, *more}
                _set_fields(event, fields)
                _set_fields_set(event, fields_set)
                _set_extra(event, None)
                _set_private(event, None)
                entries.append(_new_entry(Entry, (position, time, event, 1)))
        position += 1
    return entries


def key_event(key: Key) -> Event:
    """Return an event with this key and an empty body, to match every field but the body."""
    fields = _fields_of(key)
    fields.update(body=_NO_BODY, id="-", timestamp=_EPOCH)
    event = _make(Event)
    _set_fields(event, fields)
    _set_fields_set(event, FIELDS_SET)
    _set_extra(event, None)
    _set_private(event, None)
    return event


# Masks


def masks_of(keys: Iterable[Key]) -> tuple[int, int, int]:
    """Return the masks of levels, apps, and accounts with their ancestors of all ``keys``."""
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
    """Return the bit of a pair of levels. Each pair has a bit of its own."""
    return _LEVEL_BITS[severity, verbosity]


def name_bit(name: str) -> int:
    """Return the bit of an app or account, one of 63. It is the same in every process."""
    return 1 << zlib.crc32(name.encode()) % 63


# Times


def microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970, exact."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """Return the time of ``microseconds`` since 1970."""
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

# The slots of a pydantic instance; the bus sets the same ones when it creates an event.
_OPTIONAL = frozenset({"traceparent"})
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
    """Remove the optional fields from ``rows``. Return the known ones by row number."""
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
