"""A chat server on uWebSockets, driven from CPython through socketify's library, for loquat's load generator.

A client's message goes to all sockets of its room, the sender's too, as an event of the guide's shape, so that a
delivery is about as long as loquat's. The event is always the same but for the text, which is cut out of the frame by
position: no JSON is parsed, and there are no ids, no clock and no store. Nothing is checked (the token in the URL is
ignored) or logged, and frames that do not begin like a message are dropped.

This is socketify with as little Python as it allows, and so nearly the C++ library itself. Its classes make five
objects for each message and poll libuv from asyncio; here cffi calls the same library directly. Per message that leaves
one callback: a copy of the frame, one join of bytes, the socket's topic, and uWebSockets' native publish. Subscribing,
fan-out, framing, corking and the event loop are C++.

The order of a room is the same for all: one thread hands each message to the topic before the next is read, and
uWebSockets drains every subscriber in that order. `uws_ws_publish` would leave out the sender; `uws_publish`, the
app's, does not.
"""

import os
import signal
import socket
import sys

from socketify.native import ffi, lib

MESSAGE_BYTES_MAX = 64 * 1024
UNSENT_BYTES_MAX = 256 * 1024 * 1024
BACKLOG = 65_535
PLAIN = 0
TOPIC_BYTES = 8
# What a chat message begins with; behind it come the text, as a JSON string, and a brace.
SAID = b'{"type":"chat_message","content":'
TEXT_AT = len(SAID)
EVENT_HEAD = b'{"type":"chat_message","seq":1,"message":{"id":1000001,"content":'
EVENT_TAIL = (
    b',"sender":{"id":1,"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace"}'
    b',"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}'
)

# A room's topic is its number in eight digits, so that the length need not be looked up. Kept here, since C++
# holds bare pointers to them.
topics = {}


def topic_of(room):
    topic = topics.get(room)
    if topic is None:
        topic = topics[room] = ffi.new("char[]", b"%08d" % len(topics))
    return topic


out = ffi.new("const char **")


def header(req, name):
    length = lib.uws_req_get_header(req, name, len(name), out)
    return (out[0], length) if length else (b"", 0)


@ffi.callback("void(uws_res_t *, uws_req_t *, uws_socket_context_t *, void *)")
def on_upgrade(res, req, context, _):
    length = lib.uws_req_get_parameter(req, 0, out)
    room = ffi.unpack(out[0], length)
    key, key_length = header(req, b"sec-websocket-key")
    # No extension is agreed on, so nothing is compressed.
    lib.uws_res_upgrade(PLAIN, res, topic_of(room), key, key_length, b"", 0, b"", 0, context)


@ffi.callback("void(uws_websocket_t *, void *)")
def on_open(ws, _):
    lib.uws_ws_subscribe(PLAIN, ws, lib.uws_ws_get_user_data(PLAIN, ws), TOPIC_BYTES)


@ffi.callback("void(uws_websocket_t *, const char *, size_t, uws_opcode_t, void *)")
def on_message(
    ws,
    message,
    length,
    opcode,
    _,
    unpack=ffi.unpack,
    join=b"".join,
    publish=lib.uws_publish,
    topic=lib.uws_ws_get_user_data,
):
    said = unpack(message, length)
    if said[:TEXT_AT] == SAID:
        event = join((EVENT_HEAD, said[TEXT_AT:-1], EVENT_TAIL))
        publish(0, app, topic(0, ws), 8, event, len(event), opcode, False)


@ffi.callback("void(uws_websocket_t *, int, const char *, size_t, void *)")
def on_close(ws, code, message, length, _):
    """uWebSockets unsubscribes by itself; the binding calls this without asking whether it is there."""


@ffi.callback("void(struct us_listen_socket_t *, uws_app_listen_config_t, void *)")
def on_listen(listen_socket, config, _):
    if listen_socket == ffi.NULL:
        print(f"port {config.port} is taken; name another one", file=sys.stderr, flush=True)
        os._exit(1)
    widen_backlog()


def widen_backlog():
    """uWebSockets listens with a backlog of 512. A second listen() on the same socket sets a larger one."""
    for name in os.listdir("/proc/self/fd"):
        try:
            held = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with held:
            if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                held.listen(BACKLOG)


def behavior():
    made = ffi.new("uws_socket_behavior_t *")
    made.compression = lib.DISABLED
    made.maxPayloadLength = MESSAGE_BYTES_MAX
    made.maxBackpressure = UNSENT_BYTES_MAX
    made.closeOnBackpressureLimit = True
    made.idleTimeout = 0
    made.maxLifetime = 0
    made.sendPingsAutomatically = False
    made.upgrade = on_upgrade
    made.open = on_open
    made.message = on_message
    made.close = on_close
    return made[0]


def main():
    global app
    # The loop is C++ and never comes back to Python for signals: let them end the process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    loop = lib.socketify_create_loop()
    lib.uws_get_loop_with_native(lib.socketify_get_native_loop(loop))
    app = lib.uws_create_app(PLAIN, ffi.new("struct us_socket_context_options_t *")[0])
    if lib.uws_constructor_failed(PLAIN, app):
        sys.exit("uWebSockets could not be started")
    lib.uws_ws(PLAIN, app, b"/ws/chat/:room/", behavior(), ffi.NULL)
    host = ffi.new("char[]", b"127.0.0.1")
    config = ffi.new("uws_app_listen_config_t *", {"port": int(sys.argv[1]), "host": host})
    lib.uws_app_listen_with_config(PLAIN, app, config[0], on_listen, ffi.NULL)
    lib.socketify_loop_run(loop, lib.SOCKETIFY_RUN_DEFAULT)


main()
