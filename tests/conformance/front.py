"""loquat behind a real nginx, with a real Django site for its users.

    python front.py BINARY

The nginx configuration is packaging/nginx.conf, but for addresses and the certificate. What takes 60 s there is
shown at a twentieth of the time: nginx cuts after 3 s, and loquat pings after 1.25 s. With LOQUAT_SOAK in the
environment the times are those that are set, and silence lasts for 130 s.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

DEADLINE_S = 20
IS_LONG = bool(os.environ.get("LOQUAT_SOAK"))
SILENCE_S = 130 if IS_LONG else 5
HERE = Path(__file__).resolve().parent
PACKAGING = HERE.parent.parent / "packaging"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_it_listens(port, process, output):
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        ended = process.poll() is not None
        assert not ended and time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)


def ask(method, url, body=None, token=None):
    request = Request(url, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urlopen(request, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read() or b"null")


class Front:
    """loquat, nginx and Django, in a directory that goes with them."""

    def __init__(self, binary, place):
        self.binary, self.place = binary, place
        self.ports = {name: free_port() for name in ("loquat", "admin", "nginx", "django")}
        self.processes = []
        for name in ("jwt-secret", "admin-token", "django-secret"):
            with open(place / name, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(secrets.token_urlsafe(48))

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def run(self, name, command, **environment):
        output = self.place / f"{name}.out"
        with open(output, "wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env={"PATH": os.environ["PATH"], **environment},
            )
        self.processes.append(process)
        until_it_listens(self.ports[name], process, output)

    def start(self):
        settings = {
            "LISTEN": f"127.0.0.1:{self.ports['loquat']}",
            "ADMIN_LISTEN": f"127.0.0.1:{self.ports['admin']}",
            "ADMIN_TOKEN_FILE": self.place / "admin-token",
            "JWT_SECRET_FILE": self.place / "jwt-secret",
            "DATA": self.place / "data",
            "SHARDS": 2,
            "DISK_RESERVE": "8MiB",
            "JOURNAL_SEGMENT": "4MiB",
            "LIMITS_SOCKETS_PER_ADDRESS": 2,
            "LOG_LEVEL": "debug",
        }
        if not IS_LONG:
            settings["LIMITS_PING_AFTER_MS"] = 1250
        settings = {f"LOQUAT_{key}": str(value) for key, value in settings.items()}
        self.run("loquat", [self.binary, "serve"], **settings)
        self.run("nginx", [nginx(), "-p", str(self.place), "-c", str(self.nginx_conf())])
        site = {"SITE_PLACE": str(self.place), "LOQUAT_ADMIN": self.url("admin")}
        manage = [sys.executable, "-B", str(HERE / "django/manage.py")]
        environment = {"PATH": os.environ["PATH"], **site}
        subprocess.run([*manage, "migrate", "--verbosity=0"], check=True, env=environment)
        make = (
            "from django.contrib.auth.models import User\n"
            "for name in ('ada', 'grace'):\n"
            "    User.objects.create_user(name, f'{name}@example.org', 'a good password',"
            " first_name=name.title())\n"
        )
        subprocess.run([*manage, "shell", "--no-imports", "-c", make], check=True, env=environment)
        address = f"127.0.0.1:{self.ports['django']}"
        self.run("django", [*manage, "runserver", "--noreload", address], **site)

    def nginx_conf(self):
        """packaging/nginx.conf with what is of this machine."""
        text = (PACKAGING / "nginx.conf").read_text()
        changes = {
            "server 127.0.0.1:8000;": f"server 127.0.0.1:{self.ports['loquat']};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.ports['nginx']};",
            "proxy_read_timeout 60s;": "proxy_read_timeout 60s;" if IS_LONG else "proxy_read_timeout 3s;",
            "/var/log/nginx/": f"{self.place}/",
        }
        for old, new in changes.items():
            assert old in text, f"{old} is not in packaging/nginx.conf"
            text = text.replace(old, new)
        text = re.sub(r"^ *ssl_certificate.*\n", "", text, flags=re.M)
        (self.place / "loquat.conf").write_text(text)
        whole = self.place / "nginx.conf"
        whole.write_text(
            f"daemon off;\nworker_processes 1;\npid {self.place}/nginx.pid;\n"
            f"error_log {self.place}/nginx-error.log;\n"
            f"events {{ worker_connections 256; }}\n"
            f"http {{\n    client_body_temp_path {self.place}/body;\n    proxy_temp_path {self.place}/proxy;\n"
            f"    fastcgi_temp_path {self.place}/f;\n    uwsgi_temp_path {self.place}/u;\n"
            f"    scgi_temp_path {self.place}/s;\n    include {self.place}/loquat.conf;\n}}\n"
        )
        return whole

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def login(self, name):
        answer = ask("POST", self.url("django") + "/login/", {"username": name, "password": "a good password"})
        return answer["access"]

    def socket(self, room, token, **options):
        address = f"ws://127.0.0.1:{self.ports['nginx']}/ws/chat/{room}/?token={token}"
        return connect(address, ping_interval=None, proxy=None, **options)


def nginx():
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert found, "please install nginx"
    return found


async def frame(socket, kind):
    while True:
        found = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S))
        if found["type"] == kind:
            return found


async def refused(opening):
    """Not let in, in whichever way; the code or status."""
    try:
        async with opening as socket:
            while True:
                await asyncio.wait_for(socket.recv(), DEADLINE_S)
    except InvalidStatus as error:
        return error.response.status_code
    except ConnectionClosed as error:
        return error.rcvd.code


async def login_and_chat(front):
    """A login in Django is a user in the chat; a membership there is one here."""
    tokens = {name: front.login(name) for name in ("ada", "grace")}
    assert await refused(front.socket(77, tokens["ada"])) == 4003
    membership = front.url("django") + "/rooms/77/membership/"
    for token in tokens.values():
        ask("PUT", membership, token=token)
    async with front.socket(77, tokens["ada"]) as ada, front.socket(77, tokens["grace"]) as grace:
        await ada.send(json.dumps({"type": "chat_message", "content": "Hello through nginx"}))
        for socket in (ada, grace):
            message = (await frame(socket, "chat_message"))["message"]
            assert message["content"] == "Hello through nginx", message
            assert message["sender"]["first_name"] == "Ada", message
            assert message["sender"]["email"] == "ada@example.org", message
        url = f"{front.url('nginx')}/api/conversations/77/messages"
        page = ask("GET", url, token=tokens["grace"])
        assert page["messages"][0]["content"] == "Hello through nginx", page
        ask("DELETE", membership, token=tokens["grace"])
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(grace.recv(), DEADLINE_S)
        assert grace.close_code == 4004, grace.close_code
    return tokens


async def silence(front, token):
    """Nobody says anything for longer than nginx waits, but for the server's pings."""
    async with front.socket(77, token) as quiet:
        await frame(quiet, "user_status")
        await asyncio.sleep(SILENCE_S)
        await quiet.send(json.dumps({"type": "chat_message", "content": "still here"}))
        assert (await frame(quiet, "chat_message"))["message"]["content"] == "still here"


async def addresses(front, token):
    """The hop behind the last trusted one counts: not nginx, and not what a client made up in front of it."""
    async with contextlib.AsyncExitStack() as stack:
        async def enter(*hops):
            headers = {"X-Forwarded-For": ", ".join(hops)}
            return front.socket(77, token, additional_headers=headers)

        for made_up in ("198.51.100.1", "198.51.100.2"):
            opened = await stack.enter_async_context(await enter(made_up, "203.0.113.9"))
            await frame(opened, "user_status")
        assert await refused(await enter("198.51.100.3", "203.0.113.9")) is not None
        other = await stack.enter_async_context(await enter("203.0.113.9", "203.0.113.10"))
        await frame(other, "user_status")


def no_token_in_logs(front, tokens):
    access = (front.place / "loquat.log").read_text()
    assert "GET /ws/chat/77/ 101" in access, access
    for name in ("loquat.log", "loquat-error.log", "nginx-error.log", "loquat.out"):
        text = (front.place / name).read_text()
        for token in tokens:
            assert token not in text and token.split(".")[2] not in text, f"a token is in {name}"


async def main(binary):
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        front = Front(binary, Path(place))
        try:
            front.start()
            tokens = await login_and_chat(front)
            await asyncio.gather(silence(front, tokens["ada"]), addresses(front, tokens["ada"]))
        except HTTPError as error:
            raise AssertionError(f"{error.url}: {error.code} {error.read()[:500]}") from error
        finally:
            front.stop()
        no_token_in_logs(front, tokens.values())
    print("nginx and Django in front: all good")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
