from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fl_server.rules import Rules


@extend_schema_field(Rules)
class RulesField(serializers.JSONField):
    """What a layer says; `fl_server.rules` validates it."""


class Said(serializers.Serializer):
    rules = RulesField()
    sentence = serializers.CharField(help_text="The rules in words")


class OfGroup(Said):
    labels = serializers.ListField(
        child=serializers.CharField(), help_text="Of the groups it belongs to, as name=value"
    )


class Layers(serializers.Serializer):
    effective = Said(help_text="What holds: of each rule the strictest")
    company = Said()
    group = OfGroup(help_text="The device's groups together")
    owner = Said(help_text="What its owner set on the machine")
    loosened = serializers.ListField(
        child=serializers.CharField(), help_text="What its owner allows in vain, in sentences to the owner"
    )


class _Changed(Said):
    updated_at = serializers.DateTimeField(allow_null=True)
    updated_by = serializers.CharField(allow_null=True)


class Company(_Changed):
    is_default = serializers.BooleanField(help_text="Nobody has set anything yet")


class Group(_Changed):
    label_name = serializers.CharField()
    label_value = serializers.CharField()


class Policy(serializers.Serializer):
    company = Company()
    groups = Group(many=True)
