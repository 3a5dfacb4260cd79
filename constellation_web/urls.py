from django.contrib import admin
from django.urls import include, path

from fl_server.views.login import admin_login

urlpatterns = [
    path("admin/login/", admin_login),
    path("admin/", admin.site.urls),
    path("api/", include("fl_server.api.urls")),
    path("", include("fl_server.urls")),
]
