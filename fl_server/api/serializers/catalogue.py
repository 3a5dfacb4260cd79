from rest_framework import serializers


class Entry(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()
    summary = serializers.CharField()
    options = serializers.DictField(help_text="JSON schema of the options")
