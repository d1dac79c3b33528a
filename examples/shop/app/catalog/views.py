"""The shop's pages."""

import socket

from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from .models import Product

HEADLINE = "Everything for your berth"


def index(request):
    """The catalogue as a page."""
    context = {"headline": HEADLINE, "products": Product.objects.all(), "host": socket.gethostname()}
    return render(request, "catalog/index.html", context)


def products(request):
    """The catalogue as JSON."""
    return JsonResponse({"products": list(Product.objects.values("name", "price"))})


def healthz(request):
    """Well when the database answers."""
    connection.ensure_connection()
    return HttpResponse("ok\n", content_type="text/plain")
