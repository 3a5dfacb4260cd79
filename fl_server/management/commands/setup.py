from typing import Any

from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand

from fl_server import pki, roles
from fl_server.platform import engine
from fl_server.services import alert_rules


class Command(BaseCommand):
    help = "Prepare this home: database tables, roles, keys and certificates. Safe to run again."
    requires_system_checks = ["constellation"]

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        for role in roles.ROLES:
            Group.objects.get_or_create(name=role)
        alert_rules.make_defaults()
        pki.ensure()
        engine.secret_file()
        engine.folder()
        self.stdout.write("Tables, roles, keys and certificates are in place.")
