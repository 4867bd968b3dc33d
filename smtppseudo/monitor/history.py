"""The latest events, kept for monitors that reconnect, and the choice of events that a monitor subscribed to."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from smtppseudo.events import NAMES, Batch, Event, split_origin
from smtppseudo.log.records import json_members

KEPT_EVENTS: Final = 1_000
KEPT_BYTES: Final = 1 << 20
CHUNK_EVENTS: Final = 100
CHUNK_BYTES: Final = 65_536


class Subscription(NamedTuple):
    """The events that a monitor wants: from a `seq` on, of some kinds, from some addresses; None = all."""

    from_seq: int
    kinds: frozenset[str] | None = None
    network: IPv4Network | IPv6Network | None = None

    def select(self, batch: Batch) -> Batch:
        """Return the wanted events of a batch of consecutive events: the batch itself if all are wanted."""
        if self.kinds is None and self.network is None and batch.seqs[0] >= self.from_seq:
            return batch
        singles = [(time, origin, (event,)) for time, origin, events in batch.entries for event in events]
        wanted = [pair for pair in zip(batch.seqs, singles, strict=True) if self._wants(*pair)]
        return Batch([seq for seq, _ in wanted], [entry for _, entry in wanted])

    def _wants(self, seq: int, entry: tuple[str, str, tuple[Event]]) -> bool:
        _, origin, (event,) = entry
        if seq < self.from_seq or (self.kinds is not None and NAMES[type(event)] not in self.kinds):
            return False
        ip = split_origin(origin)[2]
        return self.network is None or (ip != "" and ip_address(ip) in self.network)


def parse_subscription(next_seq: int, fields: Mapping[str, object]) -> Subscription:
    """Parse the fields of a `subscribe` op, by default from `next_seq` on. Raises ValueError with what is allowed."""
    from_seq = fields.get("from_seq", next_seq)
    if type(from_seq) is not int or from_seq < 0:
        raise ValueError("from_seq must be a whole number")
    kinds = fields.get("events")
    known = sorted(NAMES.values())
    if kinds is not None and not (isinstance(kinds, list) and kinds and all(kind in known for kind in kinds)):
        raise ValueError(f"events must be a list of some of {', '.join(known)}")
    try:
        network = ip_network(str(fields["ip"]), strict=False) if "ip" in fields else None
    except ValueError:
        raise ValueError("ip must be an address or a network such as 192.0.2.0/24") from None
    return Subscription(from_seq, frozenset(kinds) if isinstance(kinds, list) else None, network)


class History:
    """Keeps the latest batches of events for a replay: at least 1,000 events, unless their log lines exceed 1 MiB."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Batch, int]] = deque()
        self._events = 0
        self._bytes = 0
        self.next_seq = 1

    @property
    def oldest_seq(self) -> int:
        """The `seq` of the oldest kept event, or of the next event if none is kept."""
        return self._batches[0][0].seqs[0] if self._batches else self.next_seq

    def add(self, batch: Batch, log_bytes: int) -> None:
        """Keep the events of a loop turn; `log_bytes` is the length of their log lines."""
        self._batches.append((batch, log_bytes))
        self._events += len(batch.seqs)
        self._bytes += log_bytes
        self.next_seq = batch.seqs[-1] + 1
        while self._batches and (
            self._bytes > KEPT_BYTES or self._events - len(self._batches[0][0].seqs) >= KEPT_EVENTS
        ):
            oldest, its_bytes = self._batches.popleft()
            self._events -= len(oldest.seqs)
            self._bytes -= its_bytes

    def replay(self, subscription: Subscription) -> Iterator[Batch]:
        """Return an iterator over the wanted events that are kept now; events added later do not appear in it."""
        selected = map(subscription.select, [batch for batch, _ in self._batches])
        return (batch for batch in selected if batch.seqs)


def event_frames(batch: Batch) -> list[bytes]:
    """Return each event as a frame."""
    return [
        f'{{"type":"event","seq":{seq},{members}}}\n'.encode("ascii")
        for seq, members in zip(batch.seqs, json_members(batch.entries), strict=True)
    ]


def chunks(frames: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Join frames into chunks of at most 100 frames and not much more than 64 KiB; yield each with its frame count."""
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
