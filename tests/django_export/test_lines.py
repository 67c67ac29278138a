"""What scripts/django_export.py makes of rows; no Django is needed."""

import datetime
import importlib.util
import json
import pathlib
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "django_export.py"
spec = importlib.util.spec_from_file_location("django_export", SCRIPT)
django_export = importlib.util.module_from_spec(spec)
spec.loader.exec_module(django_export)


def at(second):
    return datetime.datetime(2024, 1, 1, 0, 0, second, tzinfo=datetime.timezone.utc)


def written(rows, reactions=()):
    """The lines and warnings of messages by user 1."""
    texts, warnings = [], []
    lines = django_export.Lines(texts.append, warnings.append)
    for row in rows:
        about = [reaction for reaction in reactions if reaction["message"] == row["id"]]
        lines.message(row, {"id": 1}, about)
    lines.end()
    return [json.loads(text) for text in texts], warnings


class TestLines(unittest.TestCase):
    def test_times_are_utc_with_milliseconds(self):
        zone = datetime.timezone(datetime.timedelta(hours=2))
        moment = datetime.datetime(2024, 1, 1, 1, 0, 0, 123456, tzinfo=zone)
        self.assertEqual(django_export.instant(moment), "2023-12-31T23:00:00.123Z")
        naive = datetime.datetime(2024, 1, 1)
        self.assertEqual(django_export.instant(naive), "2024-01-01T00:00:00.000Z")

    def test_times_never_go_back(self):
        rows = [{"id": n, "content": "x", "created_at": at(second)} for n, second in [(1, 9), (2, 3)]]
        lines, warnings = written(rows)
        self.assertEqual(lines[0]["created_at"], lines[1]["created_at"])
        self.assertEqual(len(warnings), 1)

    def test_what_has_no_text_is_left_out_and_nobody_answers_it(self):
        rows = [
            {"id": 1, "content": " ", "created_at": at(1)},
            {"id": 2, "content": " y ", "created_at": at(2), "parent": 1},
        ]
        lines, warnings = written(rows)
        self.assertEqual([line["type"] for line in lines], ["message", "end"])
        self.assertEqual((lines[0]["content"], lines[0]["parent_message_id"]), ("y", None))
        self.assertEqual((lines[1]["messages"], len(warnings)), (1, 2))

    def test_a_deleted_text_is_not_written_and_its_end_comes_last(self):
        row = {"id": 1, "content": "secret", "created_at": at(5), "is_deleted": True, "edited_at": at(6)}
        reaction = {"message": 1, "user": 2, "emoji": "x", "created_at": at(9)}
        lines, _ = written([row], [reaction, reaction])
        self.assertEqual([line["type"] for line in lines], ["message", "reaction", "deletion", "end"])
        self.assertNotIn("secret", json.dumps(lines))
        self.assertEqual(lines[2]["at"], django_export.instant(at(9)))


if __name__ == "__main__":
    unittest.main()
