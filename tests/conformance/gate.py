"""Judges an Autobahn report more strictly than Autobahn does.

Autobahn accepts a dropped connection where RFC 6455 asks for a close code, calls late detection of
bad UTF-8 NON-STRICT, and a runner whose server is down reports nothing and succeeds. Here the number
of cases is exact, NON-STRICT fails, and the close codes of autobahn_strict_codes.json must come.
"""

import json
import pathlib
import sys

GOOD = {"OK", "INFORMATIONAL"}
CODES = json.loads((pathlib.Path(__file__).parent / "autobahn_strict_codes.json").read_text())


def is_in(case, sections):
    """Whether a case such as "6.4.3" is in one of these sections ("6")."""
    return case.split(".")[0] in sections


def complaints(cases, count, sections=None, other_codes=None):
    """What is wrong with a report: {case: {behavior, behaviorClose, remoteCloseCode}}.

    sections: only these were run. other_codes: cases that end with this code and nothing else.
    """
    other_codes = other_codes or {}
    wrong = []
    if len(cases) != count:
        wrong.append(f"{len(cases)} cases were run, not {count}")
    for name, case in sorted(cases.items()):
        code = case.get("remoteCloseCode")
        if name in other_codes:
            if code != other_codes[name]:
                wrong.append(f"{name}: closed with {code}, not {other_codes[name]}")
            continue
        for key in ("behavior", "behaviorClose"):
            if case.get(key) not in GOOD:
                wrong.append(f"{name}: {key} is {case.get(key)}")
    for name, allowed in CODES.items():
        if sections is not None and not is_in(name, sections):
            continue
        if name not in cases:
            wrong.append(f"{name}: was not run")
        elif cases[name].get("remoteCloseCode") not in allowed:
            wrong.append(f"{name}: closed with {cases[name].get('remoteCloseCode')}, not {allowed}")
    return wrong


def read_report(folder):
    """The cases of the one agent in a report folder."""
    index = json.loads((pathlib.Path(folder) / "index.json").read_text())
    agents = list(index.values())
    return agents[0] if len(agents) == 1 else {}


if __name__ == "__main__":
    found = complaints(read_report(sys.argv[1]), count=301)
    print("\n".join(found) or "all as the RFC wants it")
    sys.exit(1 if found else 0)
