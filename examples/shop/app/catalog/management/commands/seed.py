"""Fill the catalogue with a few products; running it twice changes nothing."""

from django.core.management.base import BaseCommand

from catalog.models import Product

PRODUCTS = {"Anchor": 4900, "Bollard": 12900, "Fender": 1900, "Mooring line": 2500}


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args, **options):
        for name, price in PRODUCTS.items():
            Product.objects.update_or_create(name=name, defaults={"price": price})
        self.stdout.write(f"{len(PRODUCTS)} products")
