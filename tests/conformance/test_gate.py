"""The gate sees what it is there to see."""

import unittest

import gate


def good_report():
    """301 good cases, the strict ones with their codes."""
    cases = {
        name: {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": codes[0]}
        for name, codes in gate.CODES.items()
    }
    for number in range(301 - len(cases)):
        cases[f"9.99.{number}"] = {
            "behavior": "INFORMATIONAL", "behaviorClose": "OK", "remoteCloseCode": 1000,
        }
    return cases


class GateTest(unittest.TestCase):
    def check(self, change, expected):
        cases = good_report()
        change(cases)
        found = gate.complaints(cases, count=301)
        self.assertEqual(len(found), len(expected), found)
        for line, part in zip(found, expected):
            self.assertIn(part, line)

    def test_a_good_report_passes(self):
        self.assertEqual(len(gate.CODES), 117)
        self.check(lambda cases: None, [])

    def test_no_report_fails(self):
        self.assertIn("0 cases were run, not 301", gate.complaints({}, count=301)[0])

    def test_a_missing_case_fails(self):
        self.check(lambda cases: cases.pop("9.99.0"), ["300 cases"])
        self.check(lambda cases: cases.pop("3.1"), ["300 cases", "3.1: was not run"])

    def test_bad_behavior_fails(self):
        self.check(lambda c: c["9.99.0"].update(behavior="FAILED"), ["9.99.0: behavior is FAILED"])
        self.check(lambda c: c["9.99.0"].update(behavior="NON-STRICT"), ["NON-STRICT"])
        self.check(lambda c: c["9.99.0"].update(behaviorClose="UNCLEAN"), ["behaviorClose is UNC"])

    def test_a_wrong_code_fails(self):
        self.check(lambda c: c["3.1"].update(remoteCloseCode=None), ["3.1: closed with None"])
        self.check(lambda c: c["3.1"].update(remoteCloseCode=1006), ["3.1: closed with 1006"])

    def test_sections_and_other_codes(self):
        cases = {n: c for n, c in good_report().items() if gate.is_in(n, {"7"})}
        cases["7.1.6"] = {"behavior": "FAILED", "behaviorClose": "OK", "remoteCloseCode": 1009}
        judge = lambda: gate.complaints(cases, len(cases), {"7"}, {"7.1.6": 1009})
        self.assertEqual(judge(), [])
        cases["7.1.6"]["remoteCloseCode"] = 1000
        self.assertEqual(judge(), ["7.1.6: closed with 1000, not 1009"])


if __name__ == "__main__":
    unittest.main()
