from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("fl_server.api.urls")),
    path("", include("fl_server.urls")),
]
