from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import FileResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api.permissions import ByAction
from fl_server.api.serializers import checkpoints as shapes
from fl_server.selectors import checkpoints as selectors
from fl_server.selectors import comparison
from fl_server.services import checkpoints

MEDIA_TYPE = "application/octet-stream"


class StreamedFile(FileResponse):
    """A file sent block by block under ASGI too, where Django would read all of it into memory first."""

    block_size = 1 << 20

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = iter(self.streaming_content)
        while block := await sync_to_async(next)(blocks, b""):
            yield block


class Checkpoints(ByAction, RetrieveModelMixin, GenericViewSet):
    queryset = models.Checkpoint.objects.none()
    serializer_class = shapes.Checkpoint
    permissions = dict.fromkeys(("retrieve", "download", "pin", "unpin", "compare"), IsAuthenticated)

    def get_queryset(self) -> QuerySet[models.Checkpoint]:
        return selectors.visible_to(self.request.user)

    @extend_schema(
        responses={(200, MEDIA_TYPE): OpenApiTypes.BINARY, 304: OpenApiResponse(description="Unchanged")}
    )
    def download(self, request: Request, pk: int) -> HttpResponseBase:
        """The weights as a safetensors file; its ETag is the file's SHA-256."""
        checkpoint = self.get_object()
        unchanged: Any = get_conditional_response(request, etag=_etag(checkpoint))
        if unchanged is not None:
            return unchanged
        stream = checkpoints.opened(checkpoint)
        precision = "-float16" if checkpoint.storage == checkpoint.Storage.FLOAT16 else ""
        name = f"job-{checkpoint.job_id}-round-{checkpoint.round_number:06d}{precision}.safetensors"
        headers = {"ETag": _etag(checkpoint), "Cache-Control": "private"}
        return StreamedFile(
            stream, as_attachment=True, filename=name, content_type=MEDIA_TYPE, headers=headers
        )

    @extend_schema(request=None)
    def pin(self, request: Request, pk: int) -> Response:
        """Keep its file, whatever the job's rule says. The job's owner and admins."""
        return Response(self.get_serializer(checkpoints.pin(self.get_object(), request.user)).data)

    @extend_schema(request=None)
    def unpin(self, request: Request, pk: int) -> Response:
        """Leave it to the job's rule again."""
        return Response(self.get_serializer(checkpoints.unpin(self.get_object(), request.user)).data)

    @extend_schema(responses=shapes.Comparison)
    def compare(self, request: Request, pk: int, other: int) -> Response:
        """Metrics side by side, and how far the other's parameters lie from this one's."""
        first, second = self.get_object(), get_object_or_404(self.get_queryset(), pk=other)
        found = {
            "first": first,
            "second": second,
            "metrics": comparison.metrics(first, second),
            "distance": checkpoints.compare(first, second),
        }
        return Response(shapes.Comparison(found, context=self.get_serializer_context()).data)


def _etag(checkpoint: models.Checkpoint) -> str:
    return f'"{checkpoint.sha256}"'
