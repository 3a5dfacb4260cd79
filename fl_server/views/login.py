import math
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import LoginView, redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from rest_framework.throttling import ScopedRateThrottle


class Login(LoginView):
    """Attempts count together with those at the API."""

    redirect_authenticated_user = True
    next_page = "home"
    throttle_scope = "login"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        throttle = ScopedRateThrottle()
        if throttle.allow_request(request, self):
            return super().post(request, *args, **kwargs)
        seconds = math.ceil(throttle.wait() or 60)
        context = self.get_context_data(form=self.get_form_class()(request), too_many=seconds)
        return self.render_to_response(context, status=429, headers={"Retry-After": str(seconds)})


def admin_login(request: HttpRequest) -> HttpResponse:
    """The admin site has no log-in of its own: this one is throttled."""
    index = reverse("admin:index")
    if admin.site.has_permission(request):
        return redirect(index)
    if request.user.is_authenticated:
        return render(request, "403.html", status=403)
    return redirect_to_login(request.GET.get("next", index))
