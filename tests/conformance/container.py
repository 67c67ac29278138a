"""The container image, as packaging/Containerfile says how it is run: under its own seccomp profile, as a user without rights.

    python container.py IMAGE [OPTION OF PODMAN RUN ...]

Two people chat, the container is stopped and started again, and what was said is there. Under a profile that forbids io_uring
the start says what to do.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import connect

DEADLINE_S = 60
PROFILE = Path(__file__).resolve().parents[2] / "packaging/seccomp.json"
USER = 8000
# What runs on a machine without systemd, too.
PODMAN = ["podman", "--runtime=runc", "--cgroup-manager=cgroupfs"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def podman(*arguments, code=0):
    done = subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, timeout=DEADLINE_S * 2)
    assert code is None or done.returncode == code, f"podman {arguments[0]}: {done.returncode} {done.stderr}"
    return done.stdout.strip() + done.stderr.strip()


class Container:
    def __init__(self, image, options, place):
        self.image, self.options, self.port = image, options, free_port()
        self.name, self.volume = (f"loquat-{kind}-{secrets.token_hex(4)}" for kind in ("test", "data"))
        # The file belongs to the user that the server is.
        self.secret = place / "jwt-secret"
        self.secret.write_text(secrets.token_urlsafe(48))
        self.secret.chmod(0o400)
        os.chown(self.secret, USER, USER)

    def run(self, profile, *more):
        return podman(
            "run", *more, "--network", "host", "--security-opt", f"seccomp={profile}", "--stop-timeout", "30",
            "--cap-drop", "all", "--read-only", "-v", f"{self.volume}:/var/lib/loquat",
            "-v", f"{self.secret}:/etc/loquat/jwt-secret:ro", *self.options, self.image,
            "serve", "--listen", f"127.0.0.1:{self.port}", "--jwt-secret-file", "/etc/loquat/jwt-secret",
            "--access", "open", "--shards", "2", "--disk-reserve", "8MiB", "--journal-segment", "4MiB",
            code=None,
        )

    def until_it_listens(self):
        deadline = time.monotonic() + DEADLINE_S
        while f"listening on http://127.0.0.1:{self.port}" not in podman("logs", self.name):
            running = podman("inspect", "--format", "{{.State.Running}}", self.name)
            assert running == "true" and time.monotonic() < deadline, podman("logs", self.name)
            time.sleep(0.2)

    def status(self):
        pid = podman("inspect", "--format", "{{.State.Pid}}", self.name)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def url(self, user):
        secret = "/etc/loquat/jwt-secret"
        token = podman("exec", self.name, "loquat", "token", "--user", str(user), "--jwt-secret-file", secret)
        return f"ws://127.0.0.1:{self.port}/ws/chat/1/?v=2&since=0&token={token.splitlines()[0]}"

    def remove(self):
        podman("rm", "--force", "--volumes", self.name, code=None)
        podman("volume", "rm", "--force", self.volume, code=None)


async def message(client, content):
    while True:
        found = json.loads(await asyncio.wait_for(client.recv(), DEADLINE_S))
        if found["type"] == "chat_message" and found["message"]["content"] == content:
            return found


async def chat(container):
    async with connect(container.url(1), proxy=None) as ada, connect(container.url(2), proxy=None) as grace:
        await ada.send(json.dumps({"type": "chat_message", "content": "Hello from a container"}))
        return [await message(client, "Hello from a container") for client in (ada, grace)]


async def again(container):
    async with connect(container.url(2), proxy=None) as grace:
        return await message(grace, "Hello from a container")


def shut_in(container):
    status = container.status()
    assert status["Uid"].split() == [str(USER)] * 4, status["Uid"]
    assert status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0, status


def without_io_uring(container, place):
    """A profile like the old defaults of container engines."""
    profile = json.loads(PROFILE.read_text())
    names = profile["syscalls"][0]["names"]
    profile["syscalls"][0]["names"] = [name for name in names if not name.startswith("io_uring")]
    refusing = place / "refusing.json"
    refusing.write_text(json.dumps(profile))
    said = container.run(refusing, "--rm")
    assert "io_uring" in said and "seccomp" in said, said


def main(image, options):
    with tempfile.TemporaryDirectory() as place:
        container = Container(image, options, Path(place))
        try:
            without_io_uring(container, Path(place))
            container.run(PROFILE, "--detach", "--name", container.name)
            container.until_it_listens()
            shut_in(container)
            shown = asyncio.run(chat(container))
            assert shown[0] == shown[1], shown
            podman("stop", container.name)
            code = podman("inspect", "--format", "{{.State.ExitCode}}", container.name)
            assert code == "0", f"it ended with {code}: {podman('logs', container.name)}"
            podman("start", container.name)
            container.until_it_listens()
            found = asyncio.run(again(container))
            assert found["message"]["id"] == shown[0]["message"]["id"], found
        finally:
            container.remove()
    print("the container image: all good")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
