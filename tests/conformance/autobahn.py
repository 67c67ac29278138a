"""Runs Autobahn's cases against /ws/echo of a demo server, and judges the reports.

    python autobahn.py BINARY REPORTS [--server HOST:PORT]

Twice: all 301 cases without limits, and sections 1 to 7 and 10 with the limits of `serve`, where one
message is larger than they allow.
"""

import pathlib
import shutil
import subprocess
import sys

import gate
from demo_server import DemoServer

# Compression is not offered, so its cases do not apply.
FULL = ["-x", "12.*", "-x", "13.*"]
FULL_CASES = 301
LIMITED_SECTIONS = ["1", "2", "3", "4", "5", "6", "7", "10"]
# 256 KiB in one message.
TOO_BIG = {"7.1.6": 1009}
RUN_S = 300


def run(address, path, selection, reports):
    """One run of the fuzzing client; its reports replace older ones."""
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    runner = pathlib.Path(sys.executable).parent / "kosoku"
    command = [runner, "-m", "fuzzingclient", f"{address}{path}", *selection, "-p", "2", "-o", reports]
    with open(reports / "runner.log", "w") as log:
        subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=RUN_S)
    return gate.read_report(reports) if (reports / "index.json").exists() else {}


def judge(name, wrong, cases):
    print(f"{name}: {len(cases)} cases, {len(wrong)} complaints", flush=True)
    for line in wrong:
        print(f"  {line}")
    return not wrong


def both(address, reports):
    full = run(address, "/ws/echo", FULL, reports / "full")
    good = judge("without limits", gate.complaints(full, FULL_CASES), full)
    selection = [part for section in LIMITED_SECTIONS for part in ("-i", f"{section}.*")]
    limited = run(address, "/ws/echo?limits=serve", selection, reports / "limited")
    expected = sum(gate.is_in(case, LIMITED_SECTIONS) for case in full)
    wrong = gate.complaints(limited, expected, LIMITED_SECTIONS, TOO_BIG)
    return judge("with the limits of serve", wrong, limited) and good and expected > 0


def main():
    binary, reports = sys.argv[1], pathlib.Path(sys.argv[2])
    if "--server" in sys.argv:
        return both(sys.argv[sys.argv.index("--server") + 1], reports)
    with DemoServer(binary, "--log-level", "warn") as server:
        good = both(server.address, reports)
        if server.process.poll() is not None:
            print("the server has ended on the way")
            return False
        return good


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
