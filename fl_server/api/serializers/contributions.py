from datetime import UTC, datetime

from rest_framework import serializers

from fl_server.selectors.contributions import GroupBy

# The month after must be a date, too.
LAST_YEAR = 9998


class Export(serializers.Serializer):
    """Which part of the ledger; without `group_by` row by row."""

    group_by = serializers.ChoiceField(choices=[*GroupBy], required=False)
    month = serializers.CharField(
        required=False, help_text="For example 2026-07, in UTC; without it all of them"
    )

    def validate_month(self, value: str) -> datetime:
        """The moment at which it begins."""
        try:
            begins = datetime.strptime(value, "%Y-%m").replace(tzinfo=UTC)
        except ValueError as exc:
            raise serializers.ValidationError(f"{value!r} is no month; one is for example 2026-07.") from exc
        if begins.year > LAST_YEAR:
            raise serializers.ValidationError(f"{value!r} is after {LAST_YEAR}.")
        return begins


class Summary(Export):
    group_by = serializers.ChoiceField(choices=[*GroupBy], default=GroupBy.OWNER)


class Total(serializers.Serializer):
    """What one group gave."""

    key = serializers.CharField(
        help_text="Of the owner, device or job; empty for a job that is gone; the month"
    )
    name = serializers.CharField()
    owner = serializers.CharField(help_text="Of a device; empty for other groups")
    rows = serializers.IntegerField(help_text="Accepted answers")
    examples = serializers.IntegerField()
    seconds = serializers.FloatField(help_text="Device time")
    energy_wh = serializers.FloatField(
        allow_null=True, help_text="Of the `energy_known` answers whose machine measured it; null: none did"
    )
    energy_known = serializers.IntegerField()
