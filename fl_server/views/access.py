"""Who may open which page, and what becomes of a refusal."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from fl_server import roles
from fl_server.exceptions import ConstellationError, NotAllowed, NotFound

View = Callable[..., HttpResponse]


def page_for(*allowed: str) -> Callable[[View], View]:
    """A page of its own: others are led to what they may see, or told that they have no role."""

    def decorate(view: View) -> View:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            held = roles.of(request.user)
            if held & set(allowed):
                return view(request, *args, **kwargs)
            if not held:
                return render(request, "no_role.html", status=403)
            if held & roles.OBSERVERS:
                raise PermissionDenied
            return redirect("devices")

        return guarded

    return decorate


def part_for(*allowed: str) -> Callable[[View], View]:
    """A page about one thing, or a part of one: for others it does not exist."""

    def decorate(view: View) -> View:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not roles.of(request.user) & set(allowed):
                raise Http404
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def act(request: HttpRequest, done: str, service: Callable[..., Any], *args: Any) -> Any:
    """Call a service for a button: a refusal becomes a page's status or a sentence on the next page.

    Returns what the service returned, or None where it refused.
    """
    try:
        result = service(*args)
    except NotAllowed as exc:
        raise PermissionDenied(exc.message) from exc
    except NotFound as exc:
        raise Http404 from exc
    except ConstellationError as exc:
        messages.error(request, exc.message)
    else:
        messages.success(request, done)
        return result
    return None
