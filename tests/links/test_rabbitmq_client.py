import asyncio
import logging
import struct
from datetime import UTC, datetime

import aiormq.exceptions as amqp
import pamqp.frame
import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from edr.links import LinkError, LinkRefused
from edr.links.rabbitmq_client import BrokerConnection, KazooProperties, as_link_error

GREGORIAN = 63_871_200_000 * 10**6


def decoded(properties):
    """What the library makes of a content header with these bytes."""
    payload = struct.pack(">HHQ", 60, 0, 5) + properties
    frame = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    return pamqp.frame.unmarshal(frame)[2].properties


def test_a_time_stamp_that_is_no_date_decodes_as_none_and_the_rest_as_it_is():
    for number in (GREGORIAN, 2**63 - 1, 2**64 - 1):
        properties = decoded(b"\x80\x48\x04text" + struct.pack(">Q", number) + b"\x01a")

        assert (properties.content_type, properties.timestamp) == ("text", None)
        assert properties.app_id == "a"


def test_a_time_stamp_that_is_none_within_a_table_of_headers_does_no_harm_either():
    table = b"\x01t" + b"T" + struct.pack(">Q", GREGORIAN)
    properties = decoded(b"\x20\x00" + struct.pack(">I", len(table)) + table)

    assert properties.headers == {"t": None}


def test_a_time_stamp_that_is_a_date_still_is_one():
    properties = decoded(b"\x00\x40" + struct.pack(">Q", 1_700_000_000))

    assert properties.timestamp == datetime.fromtimestamp(1_700_000_000, UTC)


def test_properties_are_kazoos_to_the_byte_whatever_the_library_adds():
    properties = KazooProperties(GREGORIAN)
    properties.message_id = "0123"
    header = ContentHeader(body_size=5, properties=properties).marshal()

    assert isinstance(properties, Basic.Properties)
    assert header[12:] == b"\x80\x40\x10application/json" + struct.pack(">Q", GREGORIAN)


@pytest.mark.parametrize(
    ("exc", "connecting", "kind"),
    [
        (amqp.ChannelAccessRefused("ACCESS_REFUSED - no"), False, LinkRefused),
        (amqp.ProbableAuthenticationError("ACCESS_REFUSED - no"), True, LinkRefused),
        (amqp.ChannelPreconditionFailed("PRECONDITION_FAILED - durable"), True, LinkRefused),
        (amqp.ChannelPreconditionFailed("PRECONDITION_FAILED - tag"), False, LinkError),
        (amqp.ConnectionNotAllowed("NOT_ALLOWED - vhost"), True, LinkRefused),
        (
            amqp.InvalidFrameError("Expected OpenOk, got <Connection.Close object>"),
            True,
            LinkRefused,
        ),
        (amqp.InvalidFrameError("junk"), True, LinkError),
        (amqp.ConnectionClosed(320, "CONNECTION_FORCED - a test"), False, LinkError),
        (ConnectionResetError("reset"), False, ConnectionResetError),
    ],
)
def test_only_what_trying_again_cannot_help_is_refused(exc, connecting, kind):
    error = as_link_error(exc, connecting=connecting)

    assert type(error) is kind
    assert str(error)


async def test_what_the_broker_said_when_it_closed_is_what_lost_raises(rabbitmq, raw):
    connection = BrokerConnection(rabbitmq.URL, "test")
    channel = await connection.open(confirms=False)
    lost = asyncio.create_task(connection.lost())
    with pytest.raises(amqp.ChannelNotFoundEntity, match="no queue"):
        await channel.basic_consume("edr-test-none", print)
    with pytest.raises(amqp.ChannelNotFoundEntity, match="no queue"):
        await lost
    await connection.close()


async def test_an_open_connection_is_not_blocked_and_close_leaves_no_task(rabbitmq):
    connection = BrokerConnection(rabbitmq.URL, "test")
    await connection.open(confirms=True)

    assert not connection.is_blocked
    await connection.close()
    await connection.close()


def test_the_library_logs_no_line_of_its_own_unless_it_was_told_to():
    assert logging.getLogger("aiormq").level == logging.CRITICAL
