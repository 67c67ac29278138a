"""The site: log in, join a room, leave it."""

from django.urls import path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from . import loquat


@api_view(["PUT", "DELETE"])
@permission_classes([IsAuthenticated])
def membership(request, room):
    """Whether a user may join is the site's own business."""
    if request.method == "PUT":
        loquat.create_conversation(room)
        loquat.set_member(room, request.user)
    else:
        loquat.remove_member(room, request.user)
    return Response({"room": room})


urlpatterns = [
    path("login/", TokenObtainPairView.as_view()),
    path("refresh/", TokenRefreshView.as_view()),
    path("rooms/<int:room>/membership/", membership),
]
