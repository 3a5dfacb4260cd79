"""What people send: a field that a request does not have is refused, not passed over."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers

MOST_NAMED = 10


class Body(serializers.Serializer):
    """The base of the shapes of requests; in front of ModelSerializer where one also is an answer's shape."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = self._unknown(data) if isinstance(data, Mapping) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as exc:
            raise serializers.ValidationError({**unknown, **exc.detail}) from exc
        if unknown:
            raise serializers.ValidationError(unknown)
        return values

    def _unknown(self, data: Mapping[str, Any]) -> dict[str, str]:
        allowed = [name for name, field in self.fields.items() if not field.read_only]
        names = islice((name for name in data if name not in allowed), MOST_NAMED)
        return {name: f"There is no such field to set; allowed are {', '.join(allowed)}." for name in names}


class _OfBody(OpenApiSerializerExtension):
    """Says in the schema that there are no other fields."""

    target_class = Body
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}
