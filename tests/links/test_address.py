"""Addresses of brokers, and the errors about URLs that are none."""

import pytest

from edr.links.address import address_of, split_url

PORTS = {"nats": 4222, "amqp": 5672}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://broker", "nats://broker:4222"),
        ("NATS://svc:pw@Broker:99", "nats://broker:99"),
        ("amqp://svc:p%40w@[::1]/vhost?heartbeat=5", "amqp://[::1]:5672"),
        ("nats://token@broker", "nats://broker:4222"),
    ],
)
def test_an_address_has_scheme_host_and_port_only(url, address):
    assert address_of(url, PORTS, "nats://host") == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqps://broker", "the scheme 'amqps'; did you mean 'amqp'?"),
        ("amqp:/broker", "a URL without '://'"),
        ("s:c r e t://broker", "a URL without a scheme"),
        ("amqp://", "a URL without a host"),
        ("amqp://svc:s3cret/x@broker", "cannot be parsed"),
        ("amqp://svc:1234#x@broker", "an @ after the host"),
        ("nats://a:1,b:2", "cannot be parsed"),
        ("nats://a,b", "several hosts in one URL"),
        (5, "a int"),
    ],
)
def test_an_error_about_a_url_says_what_is_wrong(url, words):
    with pytest.raises(ValueError, match="must be nats://host") as error:
        split_url(url, PORTS, "nats://host")
    assert words in str(error.value)
