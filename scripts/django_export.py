#!/usr/bin/env python3
"""Writes conversations of a Django project as lines of JSON that loquat imports (docs/http.md, "Import").

    python scripts/django_export.py --settings mysite.settings --map chat_map.json --out exports/

It needs nothing but Python and the project's own Django, and only reads. One file for each conversation:
<out>/<id>.ndjson. What could not be taken as it is (times that go back, texts that are empty) is said on stderr.

The map is a JSON object that names the project's models and fields. A field that a project does not have is left
out; "conversation" and "message" are needed, the rest is not:

    {
      "conversation": {"model": "chat.Conversation", "id": "id", "created_at": "created_at"},
      "member":   {"model": "chat.Membership", "conversation": "conversation_id", "user": "user_id",
                   "role": "role", "roles": {"owner": "admin", "guest": "read_only"}},
      "message":  {"model": "chat.Message", "conversation": "conversation_id", "id": "id",
                   "sender": "sender_id", "content": "content", "created_at": "created_at",
                   "parent": "parent_message_id", "edited_at": "edited_at",
                   "is_deleted": "is_deleted", "deleted_at": "deleted_at"},
      "reaction": {"model": "chat.MessageReaction", "message": "message_id", "user": "user_id",
                   "emoji": "emoji", "created_at": "created_at"},
      "receipt":  {"model": "chat.ReadReceipt", "message": "message_id", "user": "user_id",
                   "read_at": "read_at"}
    }

"roles" says which role of loquat (read_only, member, moderator, admin) a value stands for; others are
members. Names and e-mails come from the user model (AUTH_USER_MODEL): email, first_name, last_name.
"""

import argparse
import datetime
import json
import os
import sys

CHUNK = 1000
ROLES = ("read_only", "member", "moderator", "admin")


def instant(moment):
    """A time as loquat writes it; one without a zone counts as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    moment = moment.astimezone(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Lines:
    """The lines of one conversation, in the order in which an import wants them. Knows no Django."""

    def __init__(self, write, warn):
        self.write_text = write
        self.warn = warn
        self.counts = {"members": 0, "messages": 0, "marks": 0}
        self.ids = set()
        self.last_at = ""

    def write(self, kind, **fields):
        line = {"type": kind, **fields}
        self.write_text(json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")

    def head(self, conversation, created_at):
        self.write(
            "conversation",
            format="loquat-conversation",
            version=1,
            conversation_id=conversation,
            created_at=created_at and instant(created_at),
        )

    def member(self, user, role, names):
        self.counts["members"] += 1
        profile = names and {key: names[key] for key in ("email", "first_name", "last_name")}
        self.write("member", user_id=user, role=role, profile=profile)

    def message(self, row, sender, reactions):
        """A message with what happened to it. Rows come by rising id."""
        text = (row.get("content") or "").strip()
        is_deleted = bool(row.get("is_deleted") or row.get("deleted_at"))
        if not text and not is_deleted:
            self.warn(f"message {row['id']} has no text: left out")
            return
        created = instant(row["created_at"])
        if created < self.last_at:
            self.warn(f"message {row['id']} is older than the one before: it takes that one's time")
            created = self.last_at
        self.last_at = created
        parent = row.get("parent")
        if parent is not None and parent not in self.ids:
            self.warn(f"message {row['id']} answers {parent}, which is not before it: no parent")
            parent = None
        fields = {"content": None if is_deleted else text}
        newest = created
        if row.get("edited_at"):
            newest = fields["edited_at"] = max(created, instant(row["edited_at"]))
        self.ids.add(row["id"])
        self.counts["messages"] += 1
        self.write(
            "message",
            id=row["id"],
            created_at=created,
            sender=sender,
            parent_message_id=parent,
            **fields,
        )
        seen = set()
        for reaction in reactions:
            key = (reaction["user"], reaction["emoji"])
            if key in seen or not reaction["emoji"]:
                continue
            seen.add(key)
            at = reaction.get("created_at")
            at = max(created, instant(at)) if at else created
            newest = max(newest, at)
            self.write(
                "reaction",
                message_id=row["id"],
                at=at,
                user_id=reaction["user"],
                emoji=reaction["emoji"],
            )
        if is_deleted:
            deleted_at = row.get("deleted_at")
            at = max(newest, instant(deleted_at)) if deleted_at else newest
            self.write("deletion", message_id=row["id"], at=at, by=sender["id"])

    def mark(self, user, message, at):
        if message in self.ids:
            self.counts["marks"] += 1
            self.write("mark", user_id=user, message_id=message, at=at and instant(at) or self.last_at)

    def end(self):
        self.write("end", **self.counts)


class Source:
    """What the map names, read through Django's models."""

    def __init__(self, chat_map):
        from django.apps import apps
        from django.contrib.auth import get_user_model

        self.map = chat_map
        self.models = {kind: apps.get_model(names["model"]) for kind, names in chat_map.items()}
        self.users = {}
        self.user_model = get_user_model()

    def rows(self, kind, order, **filters):
        """Rows as dicts under our names for the fields; none where the map does not have the kind."""
        if kind not in self.map:
            return
        names = {ours: theirs for ours, theirs in self.map[kind].items() if ours not in ("model", "roles")}
        where = {names[key.split("__")[0]] + key[len(key.split("__")[0]):]: value for key, value in filters.items()}
        query = self.models[kind].objects.filter(**where).order_by(*(names[key] for key in order if key in names))
        for values in query.values_list(*names.values()).iterator(chunk_size=CHUNK):
            yield dict(zip(names, values))

    def names(self, user):
        if user not in self.users:
            fields = ("email", "first_name", "last_name")
            found = self.user_model.objects.filter(pk=user).first()
            self.users[user] = found and {key: getattr(found, key, "") or "" for key in fields}
        return self.users[user]

    def sender(self, user):
        return {"id": user, **(self.names(user) or {"email": "", "first_name": "", "last_name": ""})}

    def role(self, value):
        role = self.map["member"].get("roles", {}).get(value, value)
        return role if role in ROLES else "member"

    def messages(self, conversation):
        """Messages by rising id, each with its reactions, a chunk at a time."""
        chunk = []
        for row in self.rows("message", ["id"], conversation=conversation):
            chunk.append(row)
            if len(chunk) == CHUNK:
                yield from self.with_reactions(chunk)
                chunk = []
        yield from self.with_reactions(chunk)

    def with_reactions(self, chunk):
        of = {row["id"]: [] for row in chunk}
        if chunk:
            for reaction in self.rows("reaction", ["created_at"], message__in=list(of)):
                of[reaction["message"]].append(reaction)
        for row in chunk:
            yield row, of[row["id"]]

    def marks(self, ids):
        """The newest message that each user has read."""
        newest = {}
        ids = sorted(ids)
        for start in range(0, len(ids), CHUNK):
            for row in self.rows("receipt", ["message"], message__in=ids[start : start + CHUNK]):
                newest[row["user"]] = (row["message"], row.get("read_at"))
        return newest


def export(source, conversation, lines):
    lines.head(conversation["id"], conversation.get("created_at"))
    for member in source.rows("member", ["user"], conversation=conversation["id"]):
        lines.member(member["user"], source.role(member.get("role")), source.names(member["user"]))
    for row, reactions in source.messages(conversation["id"]):
        if row["sender"] is None:
            lines.warn(f"message {row['id']} has no sender: left out")
            continue
        lines.message(row, source.sender(row["sender"]), reactions)
    for user, (message, at) in sorted(source.marks(lines.ids).items(), key=str):
        lines.mark(user, message, at)
    lines.end()


def main():
    parser = argparse.ArgumentParser(description="Conversations of a Django project as lines that loquat imports.")
    parser.add_argument("--settings", required=True, help="the project's settings module")
    parser.add_argument("--map", required=True, help="JSON file that names models and fields; see this script's head")
    parser.add_argument("--out", required=True, help="directory for the files")
    parser.add_argument("--conversation", action="append", help="only this one; may be given more than once")
    options = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    os.environ["DJANGO_SETTINGS_MODULE"] = options.settings
    import django

    django.setup()
    with open(options.map, encoding="utf-8") as file:
        source = Source(json.load(file))
    os.makedirs(options.out, exist_ok=True)
    filters = {"id__in": options.conversation} if options.conversation else {}
    for conversation in source.rows("conversation", ["id"], **filters):
        name = os.path.join(options.out, f"{conversation['id']}.ndjson")
        with open(name + ".part", "w", encoding="utf-8") as file:
            warn = lambda text: print(f"{name}: {text}", file=sys.stderr)
            lines = Lines(file.write, warn)
            export(source, conversation, lines)
        os.replace(name + ".part", name)
        print(f"{name}: {lines.counts['messages']} messages")


if __name__ == "__main__":
    main()
