"""Which address shows what."""

from django.urls import path

from catalog import views

urlpatterns = [
    path("", views.index),
    path("api/products", views.products),
    path("healthz", views.healthz),
]
