"""What is acknowledged was recorded, however often a channel is opened."""

from itertools import pairwise

from amqp import spec
from hypothesis import given, strategies as st

from ec2map_sync.broker.channels import Channel


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
            message = type("Message", (), {})()
            message.number = self.in_hand[self._tag]
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
    st.sampled_from(["deliver", "deliver", "record", "settle", "requeue"])
    | st.just("reopen"),
    max_size=60,
)


@given(ACTS, st.booleans())
def test_what_is_acknowledged_has_been_recorded(acts, together):
    broker, recorded, batch = Broker(30), set(), []
    for act in acts:
        if act == "record" and not batch:
            batch, broker.arrived[:] = broker.arrived[:], []
            recorded |= {message.number for message in batch}
        elif act == "settle":
            settle(broker.channel, batch, together)
            batch = []
        elif act == "requeue":
            for message in broker.arrived:
                tag = message.delivery_info["delivery_tag"]
                broker.channel.basic_reject(tag, requeue=True)
            broker.arrived.clear()
        elif act in ("deliver", "reopen"):
            getattr(broker, act)()

        assert set(broker.gone) <= recorded
    everything = {*broker.gone, *broker.queue, *broker.in_hand.values()}
    assert everything == set(range(30))


def settle(channel, batch, together):
    """Acknowledge one by one, or all with the last."""
    tags = [message.delivery_info["delivery_tag"] for message in batch]
    assert all(a < b for a, b in pairwise(tags))
    for tag in tags[-1:] if together else tags:
        channel.basic_ack(tag, multiple=together)
