from rest_framework import serializers


class Reason(serializers.Serializer):
    """Why some devices would not take part."""

    reason = serializers.CharField()
    lasting = serializers.BooleanField(help_text="Stays as long as the machine is as it is")
    devices = serializers.IntegerField()
    names = serializers.ListField(child=serializers.CharField(), help_text="Of a few of them")


class DryRun(serializers.Serializer):
    sentence = serializers.CharField()
    starts = serializers.ChoiceField(choices=("now", "later", "never"))
    needed = serializers.IntegerField(help_text="Devices without which it does not start")
    selected = serializers.IntegerField(help_text="Devices that it takes when enough fit")
    fit = serializers.IntegerField(help_text="Devices that could take it, if not now")
    fit_now = serializers.IntegerField()
    devices = serializers.IntegerField(help_text="Devices of the fleet, pending ones included")
    reasons = Reason(many=True, help_text="Why devices would not take it now, the most frequent first")
    memory_bytes = serializers.IntegerField(
        allow_null=True, help_text="What training takes on a device; ask again in seconds while unknown"
    )
    memory = serializers.ChoiceField(
        choices=("given", "estimated", "unknown"), help_text="Where memory_bytes comes from"
    )
    position = serializers.IntegerField(help_text="Its place in the queue; 1 is next")
    expected_start = serializers.DateTimeField(allow_null=True)
    expected_end = serializers.DateTimeField(allow_null=True)
    expected_seconds = serializers.FloatField(
        allow_null=True, help_text="From its start to its end; unknown until a job like it has run"
    )
