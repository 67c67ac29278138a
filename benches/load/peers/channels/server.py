"""A chat server on Django Channels and Daphne, for loquat's load generator: server.py PORT memory|redis.

The stack of the WebSocket guide, without a database: a consumer on AsyncJsonWebsocketConsumer, one group for each
room, events in the guide's shape with ids from a counter. The token in the URL is ignored, and nothing is stored or logged.

It is generous to Channels: an event is written as JSON once and not by every consumer, and capacities and
expiries are so large that the layer, which drops silently, never has to. With redis, a Redis server of its own
runs on a socket file beside this process and ends with it: its CPU time counts as well.
"""

import datetime
import itertools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import django
from django.conf import settings

MESSAGE_BYTES_MAX = 64 * 1024
BACKLOG = 65_535
NEVER_S = 10 * 365 * 24 * 3600
JOIN_S = 3600
DAY_S = 24 * 3600
CAPACITY = 10_000_000
REDIS_START_S = 10
# redis-py's own 100 are fewer than messages under way, and the layer fails where it finds none free.
REDIS_CONNECTIONS_MAX = 8_192
SENDER = {"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe"}


def fail(text):
    print(f"channels: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def wait_for_redis(redis, path):
    deadline = time.monotonic() + REDIS_START_S
    while time.monotonic() < deadline:
        if redis.poll() is not None:
            fail(f"redis-server ended with {redis.returncode}")
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect(path)
        except OSError:
            time.sleep(0.02)
    fail(f"redis-server did not answer within {REDIS_START_S} s")


def start_redis(folder):
    path = os.path.join(folder, "redis.sock")
    if shutil.which("redis-server") is None:
        fail("redis-server is missing (Debian: redis-server)")
    options = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no"]
    # However this process ends, Redis is told to end too.
    command = ["setpriv", "--pdeathsig", "TERM", "redis-server", *options]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for_redis(redis, path)
    return redis, f"unix://{path}"


def layer(redis_url):
    limits = {"capacity": CAPACITY, "expiry": DAY_S, "group_expiry": DAY_S}
    if redis_url is None:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": limits}
    # Nor does it give up on a Redis that answers late because this process has the core.
    host = {"address": redis_url, "max_connections": REDIS_CONNECTIONS_MAX, "socket_timeout": None}
    config = {"hosts": [host], **limits}
    return {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}


def application():
    # Only now: they want the settings, and Daphne installs its reactor when imported.
    from channels.generic.websocket import AsyncJsonWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import re_path

    ids = itertools.count(1)

    class Chat(AsyncJsonWebsocketConsumer):
        async def connect(self):
            self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
            await self.channel_layer.group_add(self.group, self.channel_name)
            await self.accept()

        async def disconnect(self, code):
            await self.channel_layer.group_discard(self.group, self.channel_name)

        async def receive_json(self, content):
            now = datetime.datetime.now(datetime.timezone.utc)
            message = {
                "id": next(ids),
                "content": content["content"],
                "sender": SENDER,
                "parent_message_id": content.get("parent_message_id"),
                "created_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "is_edited": False,
            }
            text = await self.encode_json({"type": "chat_message", "message": message})
            await self.channel_layer.group_send(self.group, {"type": "chat.message", "text": text})

        async def chat_message(self, event):
            await self.send(text_data=event["text"])

        @classmethod
        async def encode_json(cls, content):
            return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    chat = re_path(r"^ws/chat/(?P<room>[A-Za-z0-9_.-]{1,80})/$", Chat.as_asgi())
    return ProtocolTypeRouter({"websocket": URLRouter([chat])})


def serve(port, redis_url):
    settings.configure(CHANNEL_LAYERS={"default": layer(redis_url)}, LOGGING_CONFIG=None)
    django.setup()
    # Otherwise a line for every socket that is open at the end. That a port is taken is still said.
    logging.getLogger("daphne").setLevel(logging.CRITICAL)
    from daphne.server import Server

    Server(
        application=application(),
        endpoints=[f"tcp:port={port}:interface=127.0.0.1:backlog={BACKLOG}"],
        verbosity=0,
        # No idle timeout, no pings, and time for thousands to join at once.
        websocket_timeout=-1,
        ping_interval=NEVER_S,
        ping_timeout=NEVER_S,
        websocket_connect_timeout=JOIN_S,
        websocket_handshake_timeout=JOIN_S,
        websocket_max_message_size=MESSAGE_BYTES_MAX,
        websocket_max_frame_size=MESSAGE_BYTES_MAX,
    ).run()


def main():
    port, kind = int(sys.argv[1]), sys.argv[2]
    if kind == "memory":
        return serve(port, None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = tempfile.mkdtemp(prefix="loquat-peer-")
    redis = None
    try:
        redis, url = start_redis(folder)
        # Daphne catches SIGTERM itself from here on, and comes back from serving.
        serve(port, url)
    finally:
        if redis is not None:
            redis.terminate()
            redis.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
