from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import DefaultRouter
from things.views import Things

router = DefaultRouter()
router.register("things", Things)
urlpatterns = [path("admin/", admin.site.urls), path("", include(router.urls))]
