import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fl_server import ledger_csv
from fl_server.api.permissions import SeesContributions
from fl_server.api.serializers import contributions as shapes
from fl_server.selectors import contributions as selectors
from fl_server.selectors.contributions import GroupBy

LINES_AT_ONCE = 500


class Contributions(APIView):
    permission_classes = [SeesContributions]

    @extend_schema(parameters=[shapes.Summary], responses=shapes.Total(many=True))
    def get(self, request: Request) -> Response:
        """The ledger summed up. Owners see what their own machines gave."""
        query = shapes.Summary(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        rows = selectors.of_month(selectors.visible_to(request.user), asked.get("month"))
        return Response(shapes.Total(selectors.totals(rows, GroupBy(asked["group_by"])), many=True).data)


class CSV(BaseRenderer):
    """Lets `Accept: text/csv` through; what it renders itself is an error, which stays JSON."""

    media_type = "text/csv"
    format = "csv"

    def render(
        self, data: Any, accepted_media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> bytes:
        return json.dumps(data).encode()


class Lines(StreamingHttpResponse):
    """Text sent as it is made, under ASGI too, where Django would make all of it first."""

    def __init__(self, lines: Iterable[str], **options: Any) -> None:
        super().__init__(_blocks(iter(lines)), **options)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = iter(self.streaming_content)
        while block := await sync_to_async(next)(blocks, b""):
            yield block


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    while block := "".join(islice(lines, LINES_AT_ONCE)):
        yield block


class Export(APIView):
    permission_classes = [SeesContributions]
    renderer_classes = [JSONRenderer, CSV]

    @extend_schema(parameters=[shapes.Export], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponseBase:
        """The ledger as CSV: row by row, or summed up by `group_by`. Unknown energy is an empty cell."""
        query = shapes.Export(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        rows = selectors.of_month(selectors.visible_to(request.user), asked.get("month"))
        group = asked.get("group_by")
        lines = (
            ledger_csv.of_totals(selectors.totals(rows, GroupBy(group)))
            if group
            else ledger_csv.of_rows(selectors.one_by_one(rows))
        )
        name = "contributions" + (f"-{asked['month']:%Y-%m}" if "month" in asked else "")
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Lines(lines, content_type="text/csv; charset=utf-8", headers=headers)
