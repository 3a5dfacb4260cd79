"""What a device tells of the private data that its owner registered; the rows never leave it."""

from collections.abc import Sequence

from django.db import transaction

from fl_server import events
from fl_server.device_messages import PrivateData
from fl_server.models import Device
from fl_server.services import audit


def changed(device: Device, told: Sequence[PrivateData]) -> bool:
    """Keep the list, which is complete. True when it differs from what was known."""
    after = [each.model_dump(mode="json") for each in told]
    with transaction.atomic():
        row = Device.objects.exclude(status=Device.Status.REVOKED).select_for_update().filter(pk=device.pk)
        before = row.values_list("private_data", flat=True).first()
        if before is None or before == after:
            return False
        row.update(private_data=after)
        device.private_data = after
        audit.record(
            device.owner,
            "device.data",
            f"device:{device.pk}",
            name=device.name,
            before={each["name"]: each["rows"] for each in before},
            after={each["name"]: each["rows"] for each in after},
        )
        events.device_changed(device.pk, device.owner_id, data=len(after))
    return True
