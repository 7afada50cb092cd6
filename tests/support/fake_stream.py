"""A stream without a server: a journal, its API and its connection in one object, for cursors."""

from edr.links.stream_api import NO_SUCH_CONSUMER, StreamError
from edr.links.subject import subject_of


class FakeStream:
    """A stream of JetStream; it delivers what a test tells it."""

    timeout = 5.0
    prefix = "edr"
    id = "EVENTS@today"

    def __init__(self, last=0):
        self.api = self.connection = self
        self.corrupt = 0
        self.state = {"first_seq": 1, "last_seq": last}
        self.created = []
        self.deleted = []
        self.consumers = {}
        """The settings of the JetStream consumers, by name."""
        self.published = []
        self.requested = []
        self.pulled = []
        self.is_lost = False
        self.ack_floor = None
        """The ack floor of the JetStream consumers; None for where they start."""
        self.unacked = 0
        """Number of unacknowledged entries of each JetStream consumer."""

    # The journal

    @property
    def first(self):
        return self.state["first_seq"]

    @property
    def newest(self):
        return self.state["last_seq"]

    async def connected(self):
        return self

    async def info(self, _api):
        config = {"discard": "old", "max_bytes": -1, "max_msgs": -1, "max_age": 0}
        return {"config": config, "state": self.state, "ts": "2026-01-02T00:00:00+00:00"}

    def remove_cursor(self, cursor):
        pass

    # The API

    async def create_consumer(self, name, config, action="create"):
        if action == "create":
            self.created.append((name, config))
            self.delivered = 0
        self.consumers[name] = config
        return await self.consumer(name)

    async def consumer(self, name):
        if name not in self.consumers:
            return None
        config = self.consumers[name]
        after = config.get("opt_start_seq", 1) - 1
        return {
            "config": dict(config),
            "num_pending": max(0, self.state["last_seq"] - after),
            "num_ack_pending": self.unacked,
            "num_waiting": 0,
            "delivered": {"consumer_seq": 0, "stream_seq": after},
            "ack_floor": {"stream_seq": after if self.ack_floor is None else self.ack_floor},
        }

    async def delete_consumer(self, name):
        self.deleted.append(name)
        if self.consumers.pop(name, None) is None:
            raise StreamError({"code": 404, "err_code": NO_SUCH_CONSUMER})

    def pull(self, *request):
        self.pulled.append(request)

    # The connection

    async def listen(self, _pattern, handler):
        self.handler = handler
        return 1

    async def unlisten(self, number):
        pass

    async def fence(self, _timeout):
        pass

    def new_inbox(self):
        return "inbox"

    def publish_nowait(self, subject, payload):
        self.published.append((subject, payload))

    async def ask(self, subject, payload, _timeout):
        if self.is_lost:
            raise ConnectionError("lost")
        self.requested.append((subject, payload))

    # A test

    def deliver(self, position, event, *, pending=0, delivery=1, subject=None, number=None):
        """Send a message, which has the next number of the JetStream consumer."""
        self.delivered += 1
        number = self.delivered if number is None else number
        reply = f"$JS.ACK.EVENTS.c.{delivery}.{position}.{number}.0.{pending}".encode()
        subject = (subject or subject_of(event, 1, self.prefix)).encode()
        self.handler(1, subject, reply, event.to_json(), None)

    def end_request(self, number, headers):
        """Send the status that ends a request."""
        self.handler(1, f"inbox.{number}".encode(), b"", b"", headers)
