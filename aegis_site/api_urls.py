"""The routes of `/api/v1`, gathered from the apps."""

from django.urls import include, path, re_path
from rest_framework import exceptions
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView


class RootView(APIView):
    """Where everything begins."""

    name = "Aegis API"
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        names = {"hosts": "api-host-list", "workers": "api-worker-list", "ca": "api-ca"}
        return Response({name: reverse(view_name, request=request) for name, view_name in names.items()})


class UnknownPathView(APIView):
    """Any other path: 404 as a problem document."""

    authentication_classes = []
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        raise exceptions.NotFound("There is nothing at this path.")


urlpatterns = [
    path("", RootView.as_view(), name="api-root"),
    path("", include("localca.api.urls")),
    path("", include("hosts.api.urls")),
    re_path("^.", UnknownPathView.as_view()),
]
