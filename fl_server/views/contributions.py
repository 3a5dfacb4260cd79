"""What owners' machines gave: sums by owner, device, job or month, and the way to the CSV."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from fl_server import roles
from fl_server.selectors import contributions as selectors
from fl_server.selectors.contributions import GroupBy
from fl_server.views.access import page_for

GROUPS_ON_A_PAGE = 100


@require_safe
@page_for(*roles.OBSERVERS, roles.OWNER)
def listing(request: HttpRequest) -> HttpResponse:
    visible = selectors.visible_to(request.user)
    months = [f"{month:%Y-%m}" for month in selectors.months(visible)]
    # An address that was changed by hand shows what there is instead.
    month = request.GET.get("month", "")
    month = month if month in months else ""
    asked = request.GET.get("group_by", "")
    group = GroupBy(asked) if asked in list(GroupBy) else _usual(request)
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC) if month else None
    totals = selectors.totals(selectors.of_month(visible, begins), group)
    found: dict[str, Any] = {
        "page": Paginator(totals, GROUPS_ON_A_PAGE).get_page(request.GET.get("page")),
        "groups": list(GroupBy),
        "group": group,
        "months": months,
        "month": month,
        "export": urlencode({"month": month} if month else {}),
    }
    return render(request, "contributions/list.html", found)


def _usual(request: HttpRequest) -> GroupBy:
    return GroupBy.OWNER if roles.may_observe(request.user) else GroupBy.DEVICE
