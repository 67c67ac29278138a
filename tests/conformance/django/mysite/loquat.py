"""All that a Django site needs for loquat: tokens with names in them, and who belongs where."""

import json
from urllib.parse import quote
from urllib.request import Request, urlopen

from django.conf import settings
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer


class ChatTokenSerializer(TokenObtainPairSerializer):
    """The tokens of SimpleJWT, with how the user is shown in the chat."""

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["email"] = user.email
        token["first_name"] = user.first_name
        token["last_name"] = user.last_name
        return token


def admin(method, path, body=None):
    """Asks loquat's admin port; when it returns, the change is on disk."""
    request = Request(settings.LOQUAT_ADMIN + path, method=method)
    request.add_header("Authorization", f"Bearer {settings.LOQUAT_ADMIN_TOKEN}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def create_conversation(conversation):
    """Does nothing to one that exists."""
    admin("PUT", f"/admin/conversations/{conversation}")


def set_member(conversation, user, role="member"):
    """Also gives a member another role; open sockets have it at once."""
    admin("PUT", f"/admin/conversations/{conversation}/members/{quote(str(user.pk))}", {"role": role})


def remove_member(conversation, user):
    """Closes the user's sockets there, too."""
    admin("DELETE", f"/admin/conversations/{conversation}/members/{quote(str(user.pk))}")


def log_out(user):
    """No token that was issued until now opens anything, and open sockets are closed."""
    admin("POST", f"/admin/users/{quote(str(user.pk))}/revoke", {})
