"""The feed: the latest events, kept for those who come back, and which of them somebody wants."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from smtppseudo.events import NAMES, Stamped
from smtppseudo.log.records import json_members

KEPT_EVENTS: Final = 1_000
KEPT_BYTES: Final = 1 << 20
CHUNK_EVENTS: Final = 100
CHUNK_BYTES: Final = 65_536


class Subscription(NamedTuple):
    """Which events somebody wants: from a `seq` on, of some kinds, from some addresses; None = all."""

    from_seq: int
    kinds: frozenset[str] | None = None
    network: IPv4Network | IPv6Network | None = None

    def select(self, batch: Sequence[Stamped]) -> Sequence[Stamped]:
        """Return those wanted of consecutive events."""
        if self.kinds is None and self.network is None and batch and batch[0].seq >= self.from_seq:
            return batch
        return [stamped for stamped in batch if self._wants(stamped)]

    def _wants(self, stamped: Stamped) -> bool:
        if stamped.seq < self.from_seq or (self.kinds is not None and NAMES[type(stamped.event)] not in self.kinds):
            return False
        if self.network is None:
            return True
        if not stamped.ip:
            return False
        address = ip_address(stamped.ip)
        return address.version == self.network.version and address in self.network


def parse_subscription(next_seq: int, fields: Mapping[str, object]) -> Subscription:
    """Read a `subscribe` op's fields; without `from_seq` it begins with `next_seq`.

    Raises ValueError that names the field and what is allowed.
    """
    from_seq = fields.get("from_seq", next_seq)
    if type(from_seq) is not int or from_seq < 0:
        raise ValueError("from_seq must be a whole number")
    kinds = fields.get("events")
    known = sorted(NAMES.values())
    if kinds is not None and not (isinstance(kinds, list) and kinds and all(kind in known for kind in kinds)):
        raise ValueError(f"events must be a list of some of {', '.join(known)}")
    network = None
    if "ip" in fields:
        try:
            network = ip_network(str(fields["ip"]), strict=False)
        except ValueError:
            raise ValueError("ip must be an address or a network such as 192.0.2.0/24") from None
    return Subscription(from_seq, frozenset(kinds) if isinstance(kinds, list) else None, network)


class History:
    """Keeps the last events for a replay: some more than 1,000, or as many as fill 1 MiB of log lines.

    They are kept by the batches that they came in, so that keeping them costs next to nothing.
    """

    __slots__ = ("_batches", "_bytes", "_events", "next_seq")

    def __init__(self) -> None:
        self._batches: deque[tuple[Sequence[Stamped], int]] = deque()
        self._events = 0
        self._bytes = 0
        self.next_seq = 1

    @property
    def oldest_seq(self) -> int:
        """The `seq` of the oldest event kept, or of the next to come if none is."""
        return self._batches[0][0][0].seq if self._batches else self.next_seq

    def add(self, batch: Sequence[Stamped], data: int) -> None:
        """Take in the events of a loop turn; their log lines are so many bytes long."""
        self._batches.append((batch, data))
        self._events += len(batch)
        self._bytes += data
        self.next_seq = batch[-1].seq + 1
        while self._batches and (self._bytes > KEPT_BYTES or self._events - len(self._batches[0][0]) >= KEPT_EVENTS):
            oldest, its_bytes = self._batches.popleft()
            self._events -= len(oldest)
            self._bytes -= its_bytes

    def replay(self, subscription: Subscription) -> Iterator[Sequence[Stamped]]:
        """Yield what is kept now of what a subscription wants; it may be taken later."""
        selected = map(subscription.select, [batch for batch, _ in self._batches])
        return filter(None, selected)


def event_frames(batch: Sequence[Stamped]) -> list[bytes]:
    """Render events as frames."""
    return [
        f'{{"type":"event","seq":{stamped.seq},{members}}}\n'.encode("ascii")
        for stamped, members in zip(batch, json_members(batch), strict=True)
    ]


def chunks(frames: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Join frames into pieces of at most 100, and not much more than 64 KiB; yield each and how many it holds."""
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        parts.append(frame)
        size += len(frame)
        if len(parts) >= CHUNK_EVENTS or size >= CHUNK_BYTES:
            yield b"".join(parts), len(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts), len(parts)
