"""Amounts of work in words for the owner."""

from fl_client.policy.phrases import amount


def hours(seconds: float) -> str:
    if 0 < seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def energy(watt_hours: float | None) -> str:
    if watt_hours is None:
        return "unknown"
    return f"{amount(watt_hours)} Wh" if watt_hours < 1000 else f"{amount(watt_hours / 1000)} kWh"
