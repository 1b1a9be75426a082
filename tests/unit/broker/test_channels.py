"""What is acknowledged was recorded, however often a channel is opened."""

import amqp
from amqp import spec
from hypothesis import given, settings, strategies as st

from ec2map_sync.broker.carriers import AmqpCarrier
from ec2map_sync.broker.channels import Channel
from ec2map_sync.broker.delivery import Delivery, acknowledged_together


class Broker:
    """A broker at the other end of one channel: it keeps what is not
    acknowledged, and delivers it again when the channel is opened again.
    """

    def __init__(self, count):
        self.queue = list(range(count))
        self.in_hand = {}
        self.gone = []
        self._tag = 0
        self.channels, self.confirm_publish = {}, False
        self.channel = Channel(self, 1)
        self.arrived = []
        self.channel.callbacks["1"] = self.arrived.append
        self.channel._on_open_ok()

    def _claim_channel_id(self, number):
        """Nobody else has one."""

    def deliver(self):
        if self.queue:
            self._tag += 1
            self.in_hand[self._tag] = self.queue.pop(0)
            message = amqp.Message(str(self.in_hand[self._tag]))
            self.channel._on_basic_deliver(
                "1", self._tag, False, "x", "k", message
            )

    def reopen(self):
        self.queue = [*self.in_hand.values(), *self.queue]
        self.in_hand.clear()
        self._tag = 0
        self.channel._on_open_ok()

    def frame_writer(self, _type, _channel, method, args, _content):
        tag = int.from_bytes(args[:8])
        flag = bool(args[8])
        tags = [tag]
        if method == spec.Basic.Ack and flag:
            tags = [t for t in self.in_hand if t <= tag]
        found = [self.in_hand.pop(t) for t in tags]  # RabbitMQ: 406
        if method == spec.Basic.Ack:
            self.gone += found
        else:
            assert flag
            self.queue = found + self.queue


ACTS = st.lists(
    st.sampled_from(["deliver", "deliver", "deliver", "take", "record"])
    | st.sampled_from(["settle", "requeue", "reopen", "kill"]),
    max_size=60,
)
COUNT = 30


class Listening:
    """What stands between receipt and acknowledgement, step by step."""

    def __init__(self, together):
        self.broker = Broker(COUNT)
        self.recorded = set()
        self._together = together
        self._batch, self._done = [], False

    def deliver(self):
        self.broker.deliver()

    def reopen(self):
        self.broker.reopen()

    def take(self):
        """Make a batch of what has come."""
        if not self._batch:
            arrived = self.broker.arrived
            self._batch = [
                Delivery({}, AmqpCarrier(message, self.broker.channel))
                for message in arrived
            ]
            arrived.clear()
            self._done = False

    def record(self):
        """Record what is in hand still."""
        if not self._done:
            self._done = True
            held = [
                int(one.carrier.body) for one in self._batch if not one.lapsed
            ]
            # What the broker has taken back comes again: not twice.
            assert set(held) <= set(self.broker.in_hand.values())
            self.recorded.update(held)

    def settle(self):
        """Acknowledge what is recorded."""
        if self._done:
            if self._together:
                acknowledged_together(self._batch)
            for one in self._batch:
                if not one.carrier.with_later:
                    one.carrier.ack()
            self._batch = []

    def requeue(self):
        """Give back what is not recorded."""
        if not self._done:
            for one in self._batch:
                one.carrier.requeue()
            self._batch = []

    def kill(self):
        """End on the spot; only what is recorded is known afterwards."""
        before, self.broker = self.broker, Broker(0)
        self.broker.queue = [*before.in_hand.values(), *before.queue]
        self.broker.gone = before.gone
        self._batch, self._done = [], False


@settings(max_examples=1000)
@given(ACTS, st.booleans())
def test_what_is_acknowledged_has_been_recorded(acts, together):
    listening = Listening(together)
    broker = listening.broker
    for act in acts:
        getattr(listening, act)()

        broker = listening.broker
        assert set(broker.gone) <= listening.recorded
    everything = [*broker.gone, *broker.queue, *broker.in_hand.values()]
    assert sorted(everything) == list(range(COUNT))
