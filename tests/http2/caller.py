"""A connection of HTTP/2 on which anything may be said, and what came back over it.

What the protocol allows is said through `h2`; what it forbids, through `hyperframe` and `hpack`.
"""

import asyncio
import collections
import ssl
import time

import h2.config
import h2.connection
import hpack
import hyperframe.frame as frames
from hyperframe.exceptions import HyperframeError

HEAD_BYTES = 9


class Ended(Exception):
    """The other end is gone."""


class Caller:
    def __init__(self, target, way):
        self.target = target
        self.way = way
        # An attacker's client checks nothing of what it sends.
        settings = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.lawful = h2.connection.H2Connection(settings)
        # Which end of a stream a request that is made by hand has, and HPACK's table of those.
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.newest = -1
        self.frames = 0
        self.goaway = None
        self.statuses = collections.Counter()
        self.resets = collections.Counter()
        self.last_sent = None
        self.ended_at = None

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(**self.way)
        self.began = self.last_sent = time.monotonic()
        self.reading = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        self.writer.transport.abort()

    # What it sends

    async def say(self, data, count):
        """Sends bytes that are so many frames, as far as they are taken."""
        if self.reading.done():
            raise Ended
        try:
            self.writer.write(data)
            drained = asyncio.ensure_future(self.writer.drain())
            # Whoever takes nothing any more may have said goodbye already.
            await asyncio.wait([drained, self.reading], return_when=asyncio.FIRST_COMPLETED)
            drained.cancel() if not drained.done() else drained.result()
        except (ConnectionError, ssl.SSLError):
            raise Ended from None
        self.frames += count
        self.last_sent = time.monotonic()

    async def lawfully(self, count=1):
        """Sends what `self.lawful` has to say."""
        await self.say(self.lawful.data_to_send(), count)

    async def by_hand(self, *those):
        await self.say(b"".join(frame.serialize() for frame in those), len(those))

    async def open(self):
        self.lawful.initiate_connection()
        await self.lawfully()

    def next_stream(self):
        self.newest += 2
        return self.newest

    def request(self, method="GET", path="/small", more=()):
        pseudo = [(":method", method), (":scheme", self.target["scheme"])]
        pseudo += [(":authority", self.target["host"]), (":path", self.target["stage"] + path)]
        return [*pseudo, *more]

    def headers(self, fields=None, flags=("END_HEADERS", "END_STREAM"), stream=None):
        """A frame of a head; on a new stream, where none is named."""
        block = self.encoder.encode(fields or self.request())
        return frames.HeadersFrame(stream or self.next_stream(), block, flags=list(flags))

    # What it is told

    async def read(self):
        try:
            while True:
                head = await self.reader.readexactly(HEAD_BYTES)
                frame, length = frames.Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await self.reader.readexactly(length)))
                await self.hear(frame)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, HyperframeError):
            self.ended_at = time.monotonic()

    async def hear(self, frame):
        if isinstance(frame, frames.GoAwayFrame):
            self.goaway = frame.error_code
        elif isinstance(frame, frames.RstStreamFrame):
            self.resets[frame.error_code] += 1
        elif isinstance(frame, frames.HeadersFrame):
            assert "END_HEADERS" in frame.flags, "an answer's head comes in one piece"
            fields = dict(self.decoder.decode(frame.data))
            self.statuses[fields[":status"]] += 1

    async def until_ended(self, patience):
        await asyncio.wait([self.reading], timeout=patience)

    async def until_told(self, answers, patience):
        """Until so many streams have an answer's head or were reset."""
        until = time.monotonic() + patience
        while not self.reading.done() and time.monotonic() < until:
            if self.statuses.total() + self.resets.total() >= answers:
                return
            await asyncio.sleep(0.01)

    def seen(self):
        ended = self.ended_at is not None
        return {
            "frames": self.frames,
            "streams": max(0, (self.newest + 1) // 2),
            "ended": ended,
            "afterSeconds": max(0, self.ended_at - self.last_sent) if ended else None,
            "seconds": self.ended_at - self.began if ended else None,
            "goaway": self.goaway,
            "statuses": dict(self.statuses),
            "resets": dict(self.resets),
        }
