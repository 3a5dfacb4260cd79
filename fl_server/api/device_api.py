"""What machines ask for themselves: to join, to see how they stand, to leave. People use the other routes."""

import time
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from fl_server import device_auth, device_messages, pki
from fl_server.models import Device
from fl_server.services import devices, enrolment

PEM = "application/x-pem-file"


class GpuSerializer(serializers.Serializer):
    name = serializers.CharField()
    total_bytes = serializers.IntegerField()
    free_bytes = serializers.IntegerField()


class HardwareSerializer(serializers.Serializer):
    cores = serializers.IntegerField()
    ram_bytes = serializers.IntegerField()
    gpus = GpuSerializer(many=True, required=False)


class JoinSerializer(serializers.Serializer):
    """For the schema; `device_messages.Join` checks the values."""

    secret = serializers.CharField()
    csr = serializers.CharField(help_text="Certificate signing request of the identity key (PEM, P-256)")
    node_key = serializers.CharField(help_text="Public key of the Flower node (PEM, P-256)")
    node_proof = serializers.CharField(help_text="The node key's signature over the request (base64)")
    name = serializers.CharField()
    hardware = HardwareSerializer()
    platform = serializers.CharField(required=False)
    client_version = serializers.CharField(required=False)
    machine_id = serializers.CharField(required=False)


class StandingSerializer(serializers.Serializer):
    device = serializers.UUIDField()
    name = serializers.CharField()
    owner = serializers.CharField()
    status = serializers.ChoiceField(choices=Device.Status.choices)
    presence = serializers.ChoiceField(choices=Device.Presence.choices)
    node_id = serializers.CharField()
    certificate_until = serializers.DateTimeField()
    server_time = serializers.FloatField()


class JoinedSerializer(StandingSerializer):
    certificate = serializers.CharField()


class JoinView(APIView):
    """A machine joins with an enrolment code."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "enrolment"

    @extend_schema(request=JoinSerializer, responses={201: JoinedSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        asked = device_messages.parse_join(request.data)
        machine = enrolment.Machine(
            asked.name, asked.hardware, asked.platform, asked.client_version, asked.machine_id
        )
        joined = enrolment.join(
            asked.secret, csr=asked.csr, node_key=asked.node_key, node_proof=asked.node_proof, machine=machine
        )
        return Response(standing(joined.device) | {"certificate": joined.certificate}, status=201)


class CaView(APIView):
    """The platform's authority, whose fingerprint the machine knows from its code."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses={(200, PEM): OpenApiTypes.STR}, auth=[])
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(pki.ca_pem(), content_type=PEM)


class DeviceView(APIView):
    """For a request that a device signed."""

    authentication_classes = ()
    # The signature decides, in `initial`.
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.device = device_auth.verify_request(request._request)
        super().initial(request, *args, **kwargs)


class MeView(DeviceView):
    """How the device stands."""

    @extend_schema(responses=StandingSerializer, auth=[])
    def get(self, request: Request) -> Response:
        return Response(standing(self.device))


class LeaveView(DeviceView):
    """The device goes for good; to come back it joins anew."""

    @extend_schema(request=None, responses={204: None}, auth=[])
    def post(self, request: Request) -> Response:
        devices.revoke(self.device, None, "The machine's owner left.")
        return Response(status=204)


def standing(device: Device) -> dict[str, Any]:
    return {
        "device": str(device.pk),
        "name": device.name,
        "owner": device.owner.get_username(),
        "status": device.status,
        "presence": device.presence,
        "node_id": device.node_id,
        "certificate_until": device.certificate_until,
        "server_time": time.time(),
    }
