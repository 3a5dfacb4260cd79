import math
from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
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
