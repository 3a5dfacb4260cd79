from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import FileResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api.permissions import ByAction
from fl_server.api.serializers.checkpoints import Checkpoint
from fl_server.selectors import checkpoints as selectors
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
    serializer_class = Checkpoint
    permissions = {"retrieve": IsAuthenticated, "download": IsAuthenticated}

    def get_queryset(self) -> QuerySet[models.Checkpoint]:
        return selectors.visible_to(self.request.user)

    @extend_schema(
        responses={(200, MEDIA_TYPE): OpenApiTypes.BINARY, 304: OpenApiResponse(description="Unchanged")}
    )
    def download(self, request: Request, pk: int) -> HttpResponseBase:
        """The weights as a safetensors file; its ETag is the file's SHA-256."""
        checkpoint = self.get_object()
        etag = f'"{checkpoint.sha256}"'
        unchanged: Any = get_conditional_response(request, etag=etag)
        if unchanged is not None:
            return unchanged
        name = f"job-{checkpoint.job_id}-round-{checkpoint.round_number:06d}.safetensors"
        stream = checkpoints.file_path(checkpoint).open("rb")
        headers = {"ETag": etag, "Cache-Control": "private"}
        return StreamedFile(
            stream, as_attachment=True, filename=name, content_type=MEDIA_TYPE, headers=headers
        )
