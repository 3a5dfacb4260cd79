from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fl_server.api.permissions import Observer
from fl_server.models import Device
from fl_server.selectors import devices, jobs

Activity = inline_serializer(
    "Activity",
    {
        "devices": serializers.DictField(
            child=serializers.IntegerField(), help_text="How many of each presence"
        ),
        "queued_jobs": serializers.IntegerField(),
        "running_jobs": serializers.IntegerField(),
        "active_runs": serializers.IntegerField(),
    },
)


class Health(APIView):
    """The web process answers. Nothing more is said to strangers."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = ()

    @extend_schema(responses=inline_serializer("Health", {"status": serializers.CharField()}))
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class Status(APIView):
    """How many devices do what, how long the queue is, how many runs are active."""

    permission_classes = [Observer]

    @extend_schema(responses=Activity)
    def get(self, request: Request) -> Response:
        return Response({"devices": devices.counts(Device.objects.all()), **jobs.activity()})
