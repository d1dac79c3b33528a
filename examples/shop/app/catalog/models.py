"""What the shop sells."""

from django.db import models


class Product(models.Model):
    """One thing that can be bought; prices are in cents."""

    name = models.CharField(max_length=100, unique=True)
    price = models.PositiveIntegerField()

    class Meta:
        ordering = ["name"]
