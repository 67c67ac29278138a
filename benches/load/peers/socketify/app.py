"""A chat server on socketify, the CPython binding of uWebSockets, written with its ordinary `App`.

A client's message goes to all sockets of its room, the sender's too, as an event of the guide's shape, so that a
delivery is about as long as loquat's. The event is always the same but for the text, which is cut out of the frame by
position: no JSON is parsed, and there are no ids, no clock and no store. Nothing is checked (the token in the URL is
ignored) or logged, and frames that do not begin like a message are dropped.

This is what a user of the library writes. `publish` is uWebSockets' own; the callback per message, its arguments and
the event loop (asyncio over libuv) are Python's. `native.py` is the same without those.
"""

import os
import socket
import sys

from socketify import App, AppListenOptions, CompressOptions

MESSAGE_BYTES_MAX = 64 * 1024
UNSENT_BYTES_MAX = 256 * 1024 * 1024
BACKLOG = 65_535
# What a chat message begins with; behind it come the text, as a JSON string, and a brace.
SAID = '{"type":"chat_message","content":'
TEXT_AT = len(SAID)
EVENT_HEAD = '{"type":"chat_message","seq":1,"message":{"id":1000001,"content":'
EVENT_TAIL = (
    ',"sender":{"id":1,"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace"}'
    ',"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}'
)

app = App()


def on_upgrade(res, req, context):
    key = req.get_header("sec-websocket-key")
    # No extension is agreed on, so nothing is compressed.
    res.upgrade(key, "", "", context, req.get_parameter(0))


def on_open(ws):
    ws.subscribe(ws.get_user_data())


def on_message(ws, message, opcode):
    # A slice, since a binary frame comes as bytes, which have no beginning that is a str.
    if message[:TEXT_AT] == SAID:
        event = f"{EVENT_HEAD}{message[TEXT_AT:-1]}{EVENT_TAIL}"
        app.publish(ws.get_user_data(), event, opcode)


def on_listen(_):
    """uWebSockets listens with a backlog of 512. A second listen() on the same socket sets a larger one."""
    for name in os.listdir("/proc/self/fd"):
        try:
            held = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with held:
            if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                held.listen(BACKLOG)


app.ws(
    "/ws/chat/:room/",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": MESSAGE_BYTES_MAX,
        "max_backpressure": UNSENT_BYTES_MAX,
        "close_on_backpressure_limit": True,
        "idle_timeout": 0,
        "send_pings_automatically": False,
        "upgrade": on_upgrade,
        "open": on_open,
        "message": on_message,
    },
)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), on_listen)
app.run()
