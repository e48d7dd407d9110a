"""Asks a release's databases what is applied, and applies or takes back migrations. The release's own Python runs it.

What it has to say goes to stdout as lines of JSON behind a mark; all other lines there are what Django and the project print.
Whoever started it holds its stdin: it is told there when to go on, and ends at once when that is closed, for then nobody
holds the lease that it works under. A transaction that is open then is taken back by the database.

First argument: `look`, `forward`, or `back` with, as the second one, what to go back to and what that takes back.
"""

import contextlib
import hashlib
import json
import os
import queue
import sys
import threading
import time

MARK = "\x1epannier "
TOLD = queue.Queue()

# A question that is asked again; waiting inside of one would hold a snapshot, which CREATE INDEX CONCURRENTLY waits for.
PAUSE = 0.5


def say(kind, **what):
    sys.__stdout__.write(MARK + json.dumps({kind: what}) + "\n")
    sys.__stdout__.flush()


def listen():
    """Not through `sys.stdin`: Python cannot end while a thread waits in there."""
    while told := os.read(0, 4096):
        for word in told.decode().split():
            TOLD.put(word)
    os._exit(75)


def dotted(key):
    return "%s.%s" % (key[0], key[1])


def connections():
    """Those that are migrated: the default one, and others that were before; no copies of others, and none that is no database."""
    from django.db import connections
    from django.db.migrations.recorder import MigrationRecorder

    for alias in connections:
        connection = connections[alias]
        told = connection.settings_dict
        if told.get("ENGINE", "").endswith("backends.dummy") or told.get("TEST", {}).get("MIRROR"):
            continue
        if alias == "default" or not is_absent(connection) and MigrationRecorder(connection).has_table():
            yield alias, connection


def is_absent(connection):
    """True for a file of SQLite that is not there: to ask would make it."""
    name = str(connection.settings_dict.get("NAME") or "")
    return connection.vendor == "sqlite" and not name.startswith("file:") and ":memory:" not in name and not os.path.exists(name)


def look():
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.loader import MigrationLoader

    for alias, connection in connections():
        if is_absent(connection):
            graph = MigrationLoader(None).graph
            plan = [key for leaf in graph.leaf_nodes() for key in graph.forwards_plan(leaf)]
            applied, pending = [], list(dict.fromkeys(plan))
        else:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            applied = sorted(executor.recorder.applied_migrations())
            pending = [(migration.app_label, migration.name) for migration, _ in plan]
        say(
            "database",
            alias=alias,
            vendor=connection.vendor,
            applied=[dotted(key) for key in applied],
            pending=[dotted(key) for key in pending],
        )


@contextlib.contextmanager
def guarded(connection):
    """Nobody else migrates this database meanwhile, where it has locks for that; says whether it has."""
    if connection.vendor not in ("postgresql", "mysql"):
        yield False
        return
    # A connection of its own: migrations may close theirs.
    own = type(connection)(connection.settings_dict, connection.alias)
    try:
        told = False
        while not (hold_postgresql(own) if own.vendor == "postgresql" else hold_mysql(own)):
            if not told:
                say("waiting", alias=connection.alias)
            told = True
            time.sleep(PAUSE)
        yield True
    finally:
        own.close()


def hold_postgresql(own):
    """A lock of a transaction: a pool of connections hands out one for as long as that is open, and for no longer."""
    if own.connection is None:
        own.ensure_connection()
        own.set_autocommit(False)
    number = int.from_bytes(hashlib.sha256(b"pannier migrate").digest()[:8], "big", signed=True)
    with own.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return cursor.fetchone()[0]


def hold_mysql(own):
    name = "pannier." + hashlib.sha256(str(own.settings_dict["NAME"]).encode()).hexdigest()[:40]
    with own.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", [name])
        return cursor.fetchone()[0] == 1


def whole(executor):
    """The executor with a migration and its record in one transaction, and each one told.

    Django writes the record after the transaction where statements were deferred to its end: what ends between the two leaves
    a migration that is applied, and tried again. And it reads the records once, before the first: in the transaction they are
    looked at again, which also a database without locks of ours (SQLite) keeps apart from whoever writes to it meanwhile.
    """
    from django.db import transaction

    class Whole(executor):
        def apply_migration(self, state, migration, *args, **more):
            return self.told("applied", migration, lambda: super(Whole, self).apply_migration(state, migration, *args, **more))

        def unapply_migration(self, state, migration, *args, **more):
            return self.told("reversed", migration, lambda: super(Whole, self).unapply_migration(state, migration, *args, **more))

        def told(self, kind, migration, act):
            began = time.monotonic()
            key = (migration.app_label, migration.name)

            def unless_done():
                if (key in self.recorder.applied_migrations()) == (kind == "applied"):
                    raise RuntimeError("%s was %s by somebody else meanwhile" % (dotted(key), kind))
                return act()

            done = self.at_once(migration, unless_done)
            say(kind, alias=self.connection.alias, migration=dotted(key), seconds=round(time.monotonic() - began, 3))
            return done

        def at_once(self, migration, act):
            if not (migration.atomic and self.connection.features.can_rollback_ddl):
                return act()
            # SQLite changes a schema only while it checks no constraints, and takes no notice of that inside a transaction.
            checked = self.connection.vendor == "sqlite" and self.connection.disable_constraint_checking()
            try:
                with transaction.atomic(using=self.connection.alias):
                    return act()
            finally:
                if checked:
                    self.connection.enable_constraint_checking()

    return Whole


def command(*words, **options):
    from django.core.management import call_command
    from django.core.management.commands import migrate

    if not migrate.MigrationExecutor.__name__ == "Whole":
        migrate.MigrationExecutor = whole(migrate.MigrationExecutor)
    call_command("migrate", *words, interactive=False, verbosity=1, **options)


def cleared(alias, guard):
    """Waits for leave to change this database."""
    say("ready", alias=alias, guarded=guard)
    return TOLD.get() == "go"


def forward():
    for alias, connection in list(connections()):
        with guarded(connection) as guard:
            if cleared(alias, guard):
                command(database=alias)


def back(told):
    from django.db.migrations.executor import MigrationExecutor

    for alias, connection in list(connections()):
        if alias not in told:
            continue
        with guarded(connection) as guard:
            if not cleared(alias, guard):
                continue
            targets = [(app, name) for app, name in told[alias]["targets"]]
            plan = MigrationExecutor(connection).migration_plan(targets)
            found = sorted(dotted((migration.app_label, migration.name)) for migration, is_back in plan if is_back)
            if found != sorted(told[alias]["expected"]) or len(found) != len(plan):
                say("differs", alias=alias, found=found)
                sys.exit(3)
            for app, name in targets:
                command(app, name or "zero", database=alias)


def main():
    threading.Thread(target=listen, daemon=True).start()
    import django
    from django.db.utils import Error

    django.setup()
    try:
        {"look": look, "forward": forward, "back": lambda: back(json.loads(sys.argv[2]))}[sys.argv[1]]()
    except Error as error:
        if sys.argv[1] != "look":
            raise
        say("unreachable", why=str(error).strip() or type(error).__name__)
        sys.exit(2)


main()
