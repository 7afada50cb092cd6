import asyncio
import logging
import ssl
import struct

import aiormq.exceptions as amqp
import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from edr.links import LinkError, LinkRefusedError, RabbitLink
from edr.links.rabbitmq_client import (
    BrokerConnection,
    KazooProperties,
    address_of,
    as_link_error,
)

GREGORIAN = 63_871_200_000 * 10**6


def test_properties_are_kazoos_to_the_byte_whatever_the_library_adds():
    properties = KazooProperties(GREGORIAN)
    properties.message_id = "0123"
    header = ContentHeader(body_size=5, properties=properties).marshal()

    assert isinstance(properties, Basic.Properties)
    assert header[12:] == b"\x80\x40\x10application/json" + struct.pack(">Q", GREGORIAN)


@pytest.mark.parametrize(
    ("exc", "connecting", "kind"),
    [
        (amqp.ChannelAccessRefused("ACCESS_REFUSED - no"), False, LinkRefusedError),
        (amqp.ProbableAuthenticationError("ACCESS_REFUSED - no"), True, LinkRefusedError),
        (amqp.ChannelPreconditionFailed("PRECONDITION_FAILED - durable"), True, LinkRefusedError),
        (amqp.ChannelPreconditionFailed("PRECONDITION_FAILED - tag"), False, LinkError),
        (amqp.ConnectionNotAllowed("NOT_ALLOWED - vhost"), True, LinkRefusedError),
        (
            amqp.InvalidFrameError("Expected OpenOk, got <Connection.Close object>"),
            True,
            LinkRefusedError,
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


def test_a_ca_that_signed_nothing_is_refused():
    exc = amqp.AMQPConnectionError(1, "certificate verify failed")
    exc.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")

    assert type(as_link_error(exc, connecting=True)) is LinkRefusedError


@pytest.mark.parametrize("query", ["cafile=/nowhere", "cadata=x"])
async def test_tls_options_that_cannot_work_are_refused_at_once(bus, query):
    with pytest.raises(LinkRefusedError, match="as it is set up"):
        await RabbitLink(bus, f"amqps://127.0.0.1:1/?{query}").start()


@pytest.mark.parametrize("query", ["cafiel=/ca.pem", "heartbeat=10s", "timeout=-1", "s3cret"])
def test_options_of_a_url_that_would_be_ignored_are_refused(query):
    with pytest.raises(ValueError, match="in a broker's URL must be") as error:
        address_of(f"amqp://host/?{query}")
    assert "s3cret" not in str(error.value)
