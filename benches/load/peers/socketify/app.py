"""A chat server on socketify, the CPython binding of uWebSockets, written with its ordinary `App`.

Every text frame of a client goes to all sockets of its room, the sender's too, as it came. Nothing is checked
(the token in the URL is ignored), parsed, stored or logged. `publish` is uWebSockets' own; the callback per message,
its arguments and the event loop (asyncio over libuv) are Python's. `native.py` is the same without those.
"""

import os
import socket
import sys

from socketify import App, AppListenOptions, CompressOptions

MESSAGE_BYTES_MAX = 64 * 1024
UNSENT_BYTES_MAX = 256 * 1024 * 1024
BACKLOG = 65_535

app = App()


def on_upgrade(res, req, context):
    key = req.get_header("sec-websocket-key")
    # No extension is agreed on, so nothing is compressed.
    res.upgrade(key, "", "", context, req.get_parameter(0))


def on_open(ws):
    ws.subscribe(ws.get_user_data())


def on_message(ws, message, opcode):
    app.publish(ws.get_user_data(), message, opcode)


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
