import asyncio

from support.shuffled_loop import run

from edr.links.rabbitmq_acks import ACK_AT, ACK_WITHIN, Acks


class Channel:
    """A channel that is as strict about tags as a broker."""

    def __init__(self):
        self.told = []
        self.open = set(range(1, 1000))
        self.at = []

    async def basic_ack(self, tag, *, wait, multiple=False):
        assert tag in self.open
        self.open -= {each for each in self.open if each == tag or (multiple and each < tag)}
        self._note(("ack", tag))

    async def basic_reject(self, tag, *, requeue, wait):
        assert not requeue
        self.open.remove(tag)
        self._note(("reject", tag))

    def _note(self, what):
        self.told.append(what)
        self.at.append(asyncio.get_running_loop().time())


def with_acks(check):
    async def main():
        channel = Channel()
        acks = Acks(channel)
        telling = asyncio.create_task(acks.keep_telling())
        await check(channel, acks)
        telling.cancel()

    run(main)


def took(acks, *tags):
    for tag in tags:
        acks.came(tag)
        acks.took(tag)


def rejected(acks, *tags):
    for tag in tags:
        acks.came(tag)
        acks.reject(tag)


def test_one_ack_is_for_all_that_were_taken_within_a_tenth_of_a_second():
    async def check(channel, acks):
        took(acks, *range(1, 11))
        await asyncio.sleep(1)

        assert channel.told == [("ack", 10)]
        assert channel.at == [ACK_WITHIN]

    with_acks(check)


def test_after_64_messages_the_ack_does_not_wait():
    async def check(channel, acks):
        took(acks, *range(1, ACK_AT + 1))
        await asyncio.sleep(1)

        assert (channel.told, channel.at) == ([("ack", 64)], [0.0])

    with_acks(check)


def test_a_rejected_message_is_never_acked_whatever_comes_around_it():
    async def check(channel, acks):
        took(acks, 1)
        rejected(acks, 2)
        took(acks, 3)
        rejected(acks, 4)
        await asyncio.sleep(1)
        rejected(acks, 5)
        await asyncio.sleep(1)

        assert channel.told == [("reject", 2), ("reject", 4), ("ack", 3), ("reject", 5)]
        assert channel.open == set(range(6, 1000))

    with_acks(check)


def test_nothing_is_told_twice():
    async def check(channel, acks):
        took(acks, 1)
        await acks.tell_all()
        await acks.tell_all()

        assert channel.told == [("ack", 1)]

    with_acks(check)


def test_no_message_is_acked_before_it_is_taken():
    async def check(channel, acks):
        for tag in range(1, 5):
            acks.came(tag)
        acks.took(2)
        acks.reject(3)
        acks.took(4)
        await asyncio.sleep(1)
        assert channel.told == [("reject", 3)]
        acks.took(1)
        await asyncio.sleep(1)

        assert channel.told == [("reject", 3), ("ack", 4)]

    with_acks(check)


def test_at_the_end_each_taken_message_is_acked_and_no_other():
    async def check(channel, acks):
        for tag in range(1, 5):
            acks.came(tag)
        acks.took(1)
        acks.took(3)
        await acks.tell_all()

        assert channel.told == [("ack", 1), ("ack", 3)]
        assert channel.open >= {2, 4}

    with_acks(check)
