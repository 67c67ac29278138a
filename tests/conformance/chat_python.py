"""Two Python clients chat over the demo server: every frame of the guide, kill -9, still there.

    python chat_python.py BINARY

The client is PyPI's `websockets`: nobody here wrote it.
"""

import asyncio
import itertools
import json
import sys

from demo_server import DemoServer
from websockets.asyncio.client import connect

DEADLINE_S = 10


class Tab:
    """One user's page: sends frames, and expects them by type."""

    def __init__(self, socket):
        self.socket = socket
        # (seq, message id) of what the demo shows a newcomer of the past.
        self.replayed = []

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self, skip=("user_status",)):
        while True:
            text = await asyncio.wait_for(self.socket.recv(), DEADLINE_S)
            frame = json.loads(text)
            if "is_deleted" in frame.get("message", {}):
                self.replayed.append((frame["seq"], frame["message"]["id"]))
            elif frame["type"] not in skip:
                return frame

    async def expect(self, kind, **fields):
        skip = () if kind == "user_status" else ("user_status",)
        frame = await self.next(skip)
        same = frame["type"] == kind and all(frame.get(k) == v for k, v in fields.items())
        assert same, f"expected {kind} {fields}, got {frame}"
        return frame


async def both_expect(tabs, kind, **fields):
    frames = [await tab.expect(kind, **fields) for tab in tabs]
    assert all(frame == frames[0] for frame in frames), frames
    return frames[0]


async def say(tabs, speaker, content, parent=None):
    await speaker.send("chat_message", content=content, parent_message_id=parent)
    frame = await both_expect(tabs, "chat_message")
    message = frame["message"]
    assert (message["content"], message["parent_message_id"]) == (content, parent), frame
    return frame


async def every_frame(ada, grace):
    """The guide's seven frames, in both directions. Returns the last seq and message id."""
    tabs = (ada, grace)
    first = await say(tabs, ada, "Hello from Python 👋")
    number = first["message"]["id"]
    assert first["message"]["sender"]["first_name"] == "Ada", first
    reply = await say(tabs, grace, "Hello back", parent=number)

    await ada.send("typing_indicator", is_typing=True)
    await grace.expect("typing_indicator", is_typing=True, user_id=1, user_name="Ada Lovelace")
    await ada.send("typing_indicator", is_typing=False)
    await grace.expect("typing_indicator", is_typing=False, user_id=1)

    await grace.send("read_receipt", message_id=number)
    await both_expect(tabs, "read_receipt", message_id=number, user_id=2)

    for action in ("added", "removed"):
        await grace.send("message_reaction", message_id=number, emoji="👍")
        await both_expect(tabs, "message_reaction", message_id=number, emoji="👍", action=action)

    await ada.send("message_edit", message_id=number, content="Hello, edited")
    edit = await both_expect(tabs, "message_edit", message_id=number, content="Hello, edited")
    assert edit["edited_at"], edit

    await grace.send("message_delete", message_id=reply["message"]["id"])
    deleted = await both_expect(tabs, "message_delete", message_id=reply["message"]["id"])

    await ada.send("chat_message", content="   ")
    error = await ada.expect("error", code="empty")
    assert error["error"], error
    return deleted["seq"], number


async def session(server, work):
    async with connect(server.user_url(1)) as one, connect(server.user_url(2)) as other:
        ada, grace = Tab(one), Tab(other)
        await ada.expect("user_status", user_id=1, status="online")
        await grace.expect("user_status", user_id=2, status="online")
        return await work(ada, grace)


async def cut_off(server, ada, grace):
    """Messages one after the other; killed in their midst. What Grace was shown."""
    shown = []

    async def write():
        for number in itertools.count():
            await ada.send("chat_message", content=f"before the crash {number}")
            await asyncio.sleep(0.06)

    writing = asyncio.create_task(write())
    while len(shown) < 8:
        frame = await grace.expect("chat_message")
        shown.append((frame["seq"], frame["message"]["id"]))
    server.kill9()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    return shown


async def main(binary):
    with DemoServer(binary) as server:
        seq, number = await session(server, every_frame)
        shown = await session(server, lambda ada, grace: cut_off(server, ada, grace))
        assert [s for s, _ in shown] == list(range(seq + 1, seq + 1 + len(shown))), shown
        server.start()

        async def afterwards(ada, grace):
            frame = await say((ada, grace), grace, "after the crash")
            assert frame["seq"] > shown[-1][0] and frame["message"]["id"] > shown[-1][1], frame
            missing = set(shown) - set(grace.replayed)
            assert not missing, f"{missing} were shown, and are not in {grace.replayed}"
            # It is still there for commands, too: it can be reacted to, old and new.
            for message in (number, *(known for _, known in shown)):
                await ada.send("message_reaction", message_id=message, emoji="✅", action="add")
                await both_expect((ada, grace), "message_reaction", message_id=message)

        await session(server, afterwards)
        code = server.stop()
        assert code == 0, f"SIGTERM ends with {code}"
    print("two Python clients chatted over a crash")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
