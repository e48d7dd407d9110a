"""Says what migrations every installed app has, and what each of their operations does to the database; it asks none.

Definitions only: `project.py`, which is run behind this text, calls `migrations_of`. The migrations come from Django's own
loader. What an operation changes (the field that AlterField alters) is looked up in the state that Django replays: fields and
options, no models, which would cost minutes. Nothing is judged here: that is the caller's, who has types for it.
"""

import hashlib
import sys


# What says nothing of the column, or is told by a name of its own, among the arguments of a field.
TOLD = set(
    "auto_created auto_now auto_now_add blank choices db_column db_comment db_constraint db_default db_index db_table "
    "db_tablespace decimal_places decoder default editable encoder error_messages help_text limit_choices_to max_digits "
    "max_length null on_delete parent_link primary_key related_name related_query_name serialize storage symmetrical swappable "
    "through through_fields to to_field unique unique_for_date unique_for_month unique_for_year unpack_ipv4 upload_to "
    "validators verbose_name allow_files allow_folders allow_unicode height_field match path protocol recursive "
    "width_field".split()
)

# Operations of Django that old code does not notice, whatever they are told.
HARMLESS = {
    "AddIndex",
    "AddIndexConcurrently",
    "AlterConstraint",
    "AlterIndexTogether",
    "AlterModelManagers",
    "AlterModelOptions",
    "AlterModelTableComment",
    "CreateCollation",
    "CreateExtension",
    "RemoveIndex",
    "RemoveIndexConcurrently",
    "RenameIndex",
    "ValidateConstraint",
}


def migrations_of(settings, at):
    """All of them in an order in which they can be applied; `at` gets the name of each module before it is imported."""
    from django.apps import apps
    from django.db.migrations.state import ProjectState

    loader = load(at)
    wanted = {key: parents(loader, key) for key in sorted(loader.disk_migrations)}
    for key, migration in loader.disk_migrations.items():
        for child in migration.run_before:
            for found in resolved(loader, key[0], child):
                wanted[found].append(key)
    replay = Replay(settings, loader.disk_migrations, ProjectState(real_apps=loader.unmigrated_apps))
    told = [replay.migration(key) for key in ordered(loader, wanted)]
    for one in told:
        key = (one["app"], one["name"])
        migration = loader.disk_migrations[key]
        one["sha256"] = digest(loader, key)
        one["depends_on"] = sorted({dotted(one) for one in parents(loader, key)})
        one["run_before"] = sorted({dotted(one) for child in migration.run_before for one in resolved(loader, key[0], child)})
        one["replaces"] = [dotted(one) for one in migration.replaces]
    return {"apps": sorted(config.label for config in apps.get_app_configs()), "all": told}


def load(at):
    """Django's loader; the modules that it imports are noted, so that one that fails can be named."""
    from django.db.migrations import loader

    plain = loader.import_module

    def noted(name, *rest):
        at[:] = [name]
        return plain(name, *rest)

    class Noted(loader.MigrationLoader):
        def load_disk(self):
            super().load_disk()
            at.clear()

    loader.import_module = noted
    try:
        return Noted(None, ignore_no_migrations=True)
    finally:
        loader.import_module = plain


def digest(loader, key):
    """Of the module's file, as it is on the disk."""
    module = loader.migrations_module(key[0])[0] + "." + key[1]
    with open(sys.modules[module].__file__, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def dotted(key):
    return "%s.%s" % (key[0], key[1])


def parents(loader, key):
    """What a migration depends on, "the first of that app" and swapped models resolved."""
    return [one for told in loader.disk_migrations[key].dependencies for one in resolved(loader, key[0], told)]


def resolved(loader, app, told):
    """The migrations on the disk that a dependency means: itself, or those that replace it where it is gone."""
    found = loader.check_key((told[0], told[1]), app)
    if found is None or found in loader.disk_migrations:
        return [found] if found else []
    return sorted(key for key, migration in loader.disk_migrations.items() if found in map(tuple, migration.replaces))


def ordered(loader, wanted):
    """Every migration behind what it depends on, and a squashed one behind what it replaces."""
    for key, migration in loader.disk_migrations.items():
        wanted[key] = wanted[key] + [one for one in map(tuple, migration.replaces) if one in wanted]
    done, waiting = {}, [(key, False) for key in reversed(list(wanted))]
    while waiting:
        key, is_ready = waiting.pop()
        if is_ready:
            done.setdefault(key)
        elif key not in done:
            waiting.append((key, True))
            # The loader saw to it that there is no loop, but for those that are replaced.
            waiting.extend((one, False) for one in sorted(wanted.pop(key, []), reverse=True) if one in wanted)
    return list(done)


class Replay:
    """Goes through the migrations and keeps the state that each one finds."""

    def __init__(self, settings, migrations, state):
        self.settings, self.migrations, self.state = settings, migrations, state
        # The state that a squashed migration finds is the one before the first of those that it replaces.
        self.squashed = {key: self.replaced(key) for key in migrations if migrations[key].replaces}
        self.before = {}

    def replaced(self, key):
        """All that a squashed migration stands for, as long as they are there too; else it stands for itself."""
        told = [tuple(one) for one in self.migrations[key].replaces]
        if not told or any(one not in self.migrations for one in told):
            return set()
        return set(told).union(*(self.replaced(one) for one in told))

    def migration(self, key):
        for squashed, replaced in self.squashed.items():
            if squashed not in self.before and key in replaced:
                self.before[squashed] = self.state.clone()
        migration, state = self.migrations[key], self.before.get(key, self.state)
        declared = getattr(migration, "pannier", None)
        told = [one for operation in migration.operations for one in self.operation(key[0], operation, state, declared)]
        initial = migration.initial
        if initial is None:
            initial = not any(app == key[0] for app, _ in migration.dependencies)
        return {"app": key[0], "name": key[1], "initial": initial, "atomic": bool(migration.atomic), "operations": told}

    def operation(self, app, operation, state, declared):
        """What one operation does to the database; the state is then the one behind it."""
        name = known_name(operation)
        if name == "SeparateDatabaseAndState":
            beside = state.clone() if operation.database_operations else state
            inner = [self.operation(app, one, beside, declared) for one in operation.database_operations]
            forwards(app, operation, state)
            return [one for told in inner for one in told]
        told = getattr(self, "of_" + name, None) if name else None
        if told is not None:
            return told(app, operation, state)
        forwards(app, operation, state)
        return [] if name in HARMLESS else custom(operation, declared)

    def touches(self, app, model, state):
        """False for models that have no table of this app's: proxies, unmanaged and swapped ones."""
        found = state.models.get((app, model.lower()))
        options = found.options if found else {}
        chosen = getattr(self.settings, options.get("swappable") or "", None)
        swapped = chosen is not None and chosen.lower() != "%s.%s" % (app, model.lower())
        return bool(options.get("managed", True)) and not options.get("proxy") and not swapped

    def of_CreateModel(self, app, operation, state):
        forwards(app, operation, state)
        if not self.touches(app, operation.name, state):
            return []
        return [{"kind": "create_model", "model": label(app, operation.name)}]

    def of_DeleteModel(self, app, operation, state):
        touches = self.touches(app, operation.name, state)
        forwards(app, operation, state)
        return [{"kind": "delete_model", "model": label(app, operation.name)}] if touches else []

    def of_RenameModel(self, app, operation, state):
        old, touches = table(app, operation.old_name, state), self.touches(app, operation.old_name, state)
        forwards(app, operation, state)
        if not touches or old == table(app, operation.new_name, state):
            return []
        return [{"kind": "rename_model", "model": label(app, operation.old_name), "to": label(app, operation.new_name)}]

    def of_AlterModelTable(self, app, operation, state):
        old = table(app, operation.name, state)
        forwards(app, operation, state)
        if old == table(app, operation.name, state) or not self.touches(app, operation.name, state):
            return []
        return [{"kind": "move_table", "model": label(app, operation.name)}]

    def of_AddField(self, app, operation, state):
        forwards(app, operation, state)
        field = of_field(operation.field, app, operation.model_name, operation.name)
        return self.on_field("add_field", app, operation, state, field=field)

    def of_RemoveField(self, app, operation, state):
        field = field_in(state, app, operation.model_name, operation.name)
        forwards(app, operation, state)
        return self.on_field("remove_field", app, operation, state, field=field)

    def of_AlterField(self, app, operation, state):
        before = field_in(state, app, operation.model_name, operation.name)
        forwards(app, operation, state)
        after = of_field(operation.field, app, operation.model_name, operation.name)
        return self.on_field("alter_field", app, operation, state, before=before, after=after)

    def of_RenameField(self, app, operation, state):
        before = field_in(state, app, operation.model_name, operation.old_name)
        forwards(app, operation, state)
        after = field_in(state, app, operation.model_name, operation.new_name)
        return self.on_field("rename_field", app, operation, state, before=before, after=after)

    def on_field(self, kind, app, operation, state, **fields):
        if not self.touches(app, operation.model_name, state):
            return []
        name = getattr(operation, "old_name", None) or operation.name
        return [dict(fields, kind=kind, model=label(app, operation.model_name), name=name)]

    def of_AlterUniqueTogether(self, app, operation, state):
        old = together(app, operation.name, state)
        forwards(app, operation, state)
        new = together(app, operation.name, state)
        if not self.touches(app, operation.name, state):
            return []
        sets = {"adds": sorted(new - old), "removes": sorted(old - new)}
        return [dict(sets, kind="unique_together", model=label(app, operation.name))]

    def of_AlterOrderWithRespectTo(self, app, operation, state):
        old = option(app, operation.name, state, "order_with_respect_to")
        forwards(app, operation, state)
        if bool(old) == bool(operation.order_with_respect_to) or not self.touches(app, operation.name, state):
            return []
        kind = "remove_order" if old else "add_order"
        return [{"kind": kind, "model": label(app, operation.name)}]

    def of_AddConstraint(self, app, operation, state):
        return self.on_constraint("add_constraint", app, operation, state, operation.constraint.name)

    def of_AddConstraintNotValid(self, app, operation, state):
        return self.of_AddConstraint(app, operation, state)

    def of_RemoveConstraint(self, app, operation, state):
        return self.on_constraint("remove_constraint", app, operation, state, operation.name)

    def on_constraint(self, kind, app, operation, state, name):
        forwards(app, operation, state)
        if not self.touches(app, operation.model_name, state):
            return []
        return [{"kind": kind, "model": label(app, operation.model_name), "name": name}]


def known_name(operation):
    """What Django calls an operation; None for one with code of its own."""
    classes = type(operation).__mro__
    own = [kind for kind in classes if "database_forwards" in vars(kind)]
    if not own or not is_of_django(own[0]):
        return None
    if any(kind.__name__ == "CreateExtension" for kind in classes):
        return "CreateExtension"
    return next(kind.__name__ for kind in classes if is_of_django(kind))


def is_of_django(kind):
    return kind.__module__.startswith(("django.db.", "django.contrib."))


def custom(operation, declared):
    """Code or SQL: what it does, only its author knows."""
    name = known_name(operation)
    told = {"declared": getattr(operation, "pannier", None) or declared, "reversible": bool(operation.reversible)}
    told["declared"] = None if told["declared"] is None else str(told["declared"])
    if name == "RunPython":
        noop = operation.code == type(operation).noop
        return [] if noop and operation.reversible else [dict(told, kind="noop" if noop else "python")]
    if name == "RunSQL":
        noop = not operation.sql
        return [] if noop and operation.reversible else [dict(told, kind="noop" if noop else "sql")]
    return [dict(told, kind="custom", operation="%s.%s" % (type(operation).__module__, type(operation).__name__))]


def forwards(app, operation, state):
    """Brings the state behind an operation, where it can be: what it then lacks is told as unknown, and fails no build."""
    try:
        operation.state_forwards(app, state)
    except Exception:
        pass


def label(app, model):
    return "%s.%s" % (app, model.lower())


def option(app, model, state, name):
    found = state.models.get((app, model.lower()))
    return found.options.get(name) if found else None


def table(app, model, state):
    return option(app, model, state, "db_table") or "%s_%s" % (app, model.lower())


def together(app, model, state):
    from django.db.models.options import normalize_together

    return set(normalize_together(option(app, model, state, "unique_together") or ()))


def field_in(state, app, model, name):
    """A field as the state has it; None where it has none."""
    found = state.models.get((app, model.lower()))
    field = found.fields.get(name) if found else None
    return of_field(field, app, model, name) if field is not None else None


def of_field(field, app, model, name):
    """What the column of a field is; `column` is None where it has none."""
    from django.db.models.fields import NOT_PROVIDED

    bound = field.clone()
    bound.set_attributes_from_name(name)
    has_db_default = getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
    is_by_clock = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    is_empty_text = field.blank and field.empty_strings_allowed
    relation = field.remote_field
    return {
        "type": type_of(field),
        "column": None if field.many_to_many else bound.column,
        "own_table": bool(field.many_to_many and relation.through is None),
        "null": bool(field.null),
        "fills": bool(field.null or field.has_default() or has_db_default or is_by_clock or is_empty_text),
        "db_default": has_db_default,
        "unique": bool(field.unique),
        "primary_key": bool(field.primary_key),
        "generated": bool(getattr(field, "generated", False)),
        "max_length": getattr(field, "max_length", None),
        "max_digits": getattr(field, "max_digits", None),
        "decimal_places": getattr(field, "decimal_places", None),
        "to": target(field, app, model) if relation else None,
        "db_constraint": bool(getattr(field, "db_constraint", True)),
        "other": other(field),
    }


def type_of(field):
    """What Django calls the kind of column; the class, where that has code of its own for it."""
    for name in ["db_type", "db_parameters", "get_internal_type"]:
        own = next((kind for kind in type(field).__mro__ if name in vars(kind)), None)
        if own is not None and not is_of_django(own):
            return "%s.%s" % (type(field).__module__, type(field).__qualname__)
    return field.get_internal_type()


def target(field, app, model):
    """The model, and the field of it, that a relation leads to."""
    from django.db.migrations.utils import resolve_relation

    model = ".".join(resolve_relation(field.remote_field.model, app, model.lower()))
    name = getattr(field, "to_fields", None) or [None]
    return "%s.%s" % (model, name[0]) if name[0] else model


def other(field):
    """The arguments of a field that none of the names above tells, as a migration would have them written."""
    from django.db.migrations.writer import MigrationWriter

    _, _, args, kwargs = field.deconstruct()
    told = {name: value for name, value in kwargs.items() if name not in TOLD}
    told.update({str(place): value for place, value in enumerate(args)})
    written = {}
    for name, value in sorted(told.items()):
        try:
            written[name] = MigrationWriter.serialize(value)[0]
        except Exception:
            written[name] = repr(value)
    return written


