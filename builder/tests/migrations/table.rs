//! Operations as projects have them, each with what it does to older code and whether it can be undone.
//!
//! Every row becomes the second migration of an app of its own, behind [`BASE`]. The labels were given by hand, from what the
//! database then does to the INSERT, SELECT and UPDATE of code whose models are those of [`BASE`].

use pannier_shared::statement::Class::{self, Additive, Destructive, Unknown};
use pannier_shared::statement::Reverse::{self, None as No, UnlessRowsForbid as Unless, Whole};

/// The first migration of every app.
pub const BASE: &str = "\
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel('Other', [('id', models.BigAutoField(primary_key=True)), ('key', models.IntegerField(unique=True))]),
        migrations.CreateModel('Thing', [
            ('id', models.AutoField(primary_key=True)),
            ('number', models.IntegerField()),
            ('maybe', models.IntegerField(null=True)),
            ('filled', models.IntegerField(default=7)),
            ('based', models.IntegerField(db_default=7)),
            ('text', models.CharField(max_length=20)),
            ('blank', models.CharField(max_length=20, blank=True)),
            ('slug', models.SlugField(max_length=20)),
            ('long', models.TextField()),
            ('price', models.DecimalField(max_digits=8, decimal_places=2)),
            ('code', models.CharField(max_length=20, unique=True)),
            ('named', models.IntegerField(db_column='col')),
            ('made', models.DateTimeField(auto_now_add=True)),
            ('other', models.ForeignKey('Other', models.CASCADE)),
            ('loose', models.ForeignKey('Other', models.CASCADE, db_constraint=False, related_name='+')),
            ('single', models.OneToOneField('Other', models.CASCADE, related_name='+')),
            ('many', models.ManyToManyField('Other', related_name='+')),
            ('twice', models.GeneratedField(expression=models.F('number') * 2, output_field=models.IntegerField(), db_persist=True)),
        ], options={'unique_together': {('number', 'maybe')}}),
        migrations.CreateModel('Link', [
            ('id', models.AutoField(primary_key=True)),
            ('thing', models.ForeignKey('Thing', models.CASCADE)),
            ('other', models.ForeignKey('Other', models.CASCADE)),
        ]),
        migrations.AddField('Thing', 'linked', models.ManyToManyField('Other', through='Link', related_name='+')),
        migrations.AddConstraint('Thing', models.CheckConstraint(condition=models.Q(number__gt=0), name='positive')),
        migrations.AddIndex('Thing', models.Index(fields=['number'], name='by_number')),
        migrations.CreateModel('Tabled', [('id', models.AutoField(primary_key=True))], options={'db_table': 'chosen'}),
        migrations.CreateModel('Ordered', [('id', models.AutoField(primary_key=True)), ('thing', models.ForeignKey('Thing', models.CASCADE))], options={'order_with_respect_to': 'thing'}),
        migrations.CreateModel('Foreign', [('id', models.AutoField(primary_key=True))], options={'managed': False}),
        migrations.CreateModel('Nearly', [], options={'proxy': True}, bases=('LABEL.thing',)),
        migrations.CreateModel('Swapped', [('id', models.AutoField(primary_key=True))], options={'swappable': 'SWAPPED_MODEL'}),
    ]
";

/// The operations, their class, and their reverse.
pub const ROWS: &[(&str, Class, Reverse)] = &[
    // Tables.
    ("migrations.CreateModel('New', [('id', models.AutoField(primary_key=True))])", Additive, Whole),
    ("migrations.CreateModel('Part', [], options={'proxy': True}, bases=('LABEL.thing',))", Additive, Whole),
    ("migrations.DeleteModel('Tabled')", Destructive, Whole),
    ("migrations.DeleteModel('Foreign')", Additive, Whole),
    ("migrations.DeleteModel('Nearly')", Additive, Whole),
    ("migrations.DeleteModel('Swapped')", Additive, Whole),
    ("migrations.RenameModel('Link', 'Tie')", Destructive, Whole),
    ("migrations.RenameModel('Tabled', 'Named')", Additive, Whole),
    ("migrations.AlterModelTable('Link', 'ties')", Destructive, Whole),
    ("migrations.AlterModelTable('Tabled', 'chosen')", Additive, Whole),
    ("migrations.AlterModelTableComment('Link', 'ties')", Additive, Whole),
    ("migrations.AlterModelOptions('Thing', {'ordering': ['number'], 'verbose_name': 'x'})", Additive, Whole),
    ("migrations.AlterModelManagers('Thing', [('objects', models.Manager())])", Additive, Whole),
    ("migrations.AlterOrderWithRespectTo('Link', 'thing')", Destructive, Whole),
    ("migrations.AlterOrderWithRespectTo('Ordered', None)", Destructive, Whole),
    // New columns.
    ("migrations.AddField('Thing', 'x', models.IntegerField(null=True))", Additive, Whole),
    ("migrations.AddField('Thing', 'x', models.IntegerField(default=0))", Destructive, Whole),
    ("migrations.AddField('Thing', 'x', models.IntegerField(default=0), preserve_default=False)", Destructive, Whole),
    ("migrations.AddField('Thing', 'x', models.CharField(max_length=9, blank=True))", Destructive, Whole),
    ("migrations.AddField('Thing', 'x', models.IntegerField(db_default=0))", Additive, Whole),
    ("migrations.AddField('Thing', 'x', models.IntegerField(db_default=0, unique=True))", Destructive, Whole),
    ("migrations.AddField('Thing', 'x', models.IntegerField(null=True, unique=True))", Additive, Whole),
    ("migrations.AddField('Thing', 'x', models.ForeignKey('Other', models.CASCADE, null=True))", Additive, Whole),
    ("migrations.AddField('Thing', 'x', models.ForeignKey('Other', models.CASCADE, default=1))", Destructive, Whole),
    ("migrations.AddField('Thing', 'x', models.ManyToManyField('Other'))", Additive, Whole),
    (
        "migrations.AddField('Thing', 'x', models.GeneratedField(expression=models.F('number'), output_field=models.IntegerField(), db_persist=True))",
        Additive,
        Whole,
    ),
    ("migrations.AddField('Foreign', 'x', models.IntegerField(default=0))", Additive, Whole),
    ("migrations.AddField('Swapped', 'x', models.IntegerField(default=0))", Additive, Whole),
    (
        "migrations.CreateModel('New', [('id', models.AutoField(primary_key=True))]), migrations.AddField('New', 'x', models.IntegerField(default=0)), migrations.AlterUniqueTogether('New', {('id', 'x')})",
        Additive,
        Whole,
    ),
    // Columns that go.
    ("migrations.RemoveField('Thing', 'maybe')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'text')", Destructive, Unless),
    ("migrations.RemoveField('Thing', 'blank')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'filled')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'made')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'code')", Destructive, Unless),
    ("migrations.RemoveField('Thing', 'twice')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'many')", Destructive, Whole),
    ("migrations.RemoveField('Thing', 'linked')", Additive, Whole),
    (
        "migrations.RemoveField('Thing', 'text'), migrations.AddField('Thing', 'text', models.CharField(max_length=20, null=True))",
        Destructive,
        Unless,
    ),
    // Names.
    ("migrations.RenameField('Thing', 'text', 'title')", Destructive, Whole),
    ("migrations.RenameField('Thing', 'named', 'renamed')", Additive, Whole),
    ("migrations.RenameField('Thing', 'many', 'lots')", Destructive, Whole),
    ("migrations.RenameField('Thing', 'other', 'another')", Destructive, Whole),
    ("migrations.AlterField('Thing', 'number', models.IntegerField(db_column='n'))", Destructive, Whole),
    (
        "migrations.RenameField('Thing', 'text', 'title'), migrations.AlterField('Thing', 'title', models.CharField(max_length=20, db_column='text'))",
        Destructive,
        Whole,
    ),
    // Columns that change.
    ("migrations.AlterField('Thing', 'text', models.CharField(max_length=30))", Additive, Unless),
    ("migrations.AlterField('Thing', 'text', models.CharField(max_length=10))", Destructive, Whole),
    ("migrations.AlterField('Thing', 'text', models.TextField())", Additive, Unless),
    ("migrations.AlterField('Thing', 'long', models.CharField(max_length=100))", Destructive, Whole),
    ("migrations.AlterField('Thing', 'slug', models.CharField(max_length=20))", Additive, Whole),
    (
        "migrations.AlterField('Thing', 'text', models.EmailField(max_length=20, help_text='x', verbose_name='y', choices=[('a', 'b')], default='a'))",
        Additive,
        Whole,
    ),
    ("migrations.AlterField('Thing', 'maybe', models.IntegerField(default=0))", Destructive, Whole),
    ("migrations.AlterField('Thing', 'number', models.IntegerField(null=True))", Additive, Unless),
    ("migrations.AlterField('Thing', 'number', models.BigIntegerField())", Additive, Unless),
    ("migrations.AlterField('Thing', 'number', models.SmallIntegerField())", Destructive, Whole),
    ("migrations.AlterField('Thing', 'number', models.PositiveIntegerField())", Destructive, Whole),
    ("migrations.AlterField('Thing', 'number', models.CharField(max_length=20))", Destructive, Unless),
    ("migrations.AlterField('Thing', 'id', models.BigAutoField(primary_key=True))", Additive, Unless),
    ("migrations.AlterField('Thing', 'price', models.DecimalField(max_digits=10, decimal_places=2))", Additive, Unless),
    (
        "migrations.AlterField('Thing', 'price', models.DecimalField(max_digits=8, decimal_places=3))",
        Destructive,
        Unless,
    ),
    ("migrations.AlterField('Thing', 'number', models.IntegerField(unique=True))", Destructive, Whole),
    ("migrations.AlterField('Thing', 'code', models.CharField(max_length=20))", Additive, Unless),
    ("migrations.AlterField('Thing', 'number', models.IntegerField(db_index=True))", Additive, Whole),
    ("migrations.AlterField('Thing', 'number', models.IntegerField(db_default=1))", Additive, Unless),
    ("migrations.AlterField('Thing', 'based', models.IntegerField())", Destructive, Whole),
    ("migrations.AlterField('Thing', 'text', models.CharField(max_length=20, db_collation='C'))", Unknown, Unless),
    (
        "migrations.AlterField('Thing', 'other', models.ForeignKey('Other', models.PROTECT, related_name='things'))",
        Additive,
        Whole,
    ),
    ("migrations.AlterField('Thing', 'other', models.OneToOneField('Other', models.CASCADE))", Destructive, Whole),
    ("migrations.AlterField('Thing', 'single', models.ForeignKey('Other', models.CASCADE))", Additive, Unless),
    ("migrations.AlterField('Thing', 'other', models.ForeignKey('Link', models.CASCADE))", Destructive, Unless),
    (
        "migrations.AlterField('Thing', 'loose', models.ForeignKey('Other', models.CASCADE, related_name='+'))",
        Destructive,
        Whole,
    ),
    (
        "migrations.AlterField('Thing', 'many', models.ManyToManyField('Other', blank=True, related_name='+'))",
        Additive,
        Whole,
    ),
    // Indexes and constraints.
    ("migrations.AddIndex('Thing', models.Index(fields=['text'], name='by_text'))", Additive, Whole),
    ("migrations.RemoveIndex('Thing', 'by_number')", Additive, Whole),
    ("migrations.RenameIndex('Thing', new_name='numbers', old_name='by_number')", Additive, Whole),
    ("postgres.AddIndexConcurrently('Thing', models.Index(fields=['text'], name='by_text'))", Additive, Whole),
    ("postgres.RemoveIndexConcurrently('Thing', 'by_number')", Additive, Whole),
    ("postgres.TrigramExtension()", Additive, Whole),
    (
        "postgres.AddConstraintNotValid('Thing', models.CheckConstraint(condition=models.Q(maybe__gt=0), name='c'))",
        Destructive,
        Whole,
    ),
    ("postgres.ValidateConstraint('Thing', 'positive')", Additive, Whole),
    ("migrations.AddConstraint('Thing', models.UniqueConstraint(fields=['text'], name='u'))", Destructive, Whole),
    (
        "migrations.AddConstraint('Thing', models.CheckConstraint(condition=models.Q(maybe__gt=0), name='c'))",
        Destructive,
        Whole,
    ),
    ("migrations.RemoveConstraint('Thing', 'positive')", Additive, Unless),
    ("migrations.AlterUniqueTogether('Thing', {('number', 'maybe'), ('text', 'long')})", Destructive, Whole),
    ("migrations.AlterUniqueTogether('Thing', set())", Additive, Unless),
    // Code and SQL.
    ("migrations.RunPython(forth)", Unknown, No),
    ("migrations.RunPython(forth, forth)", Unknown, Whole),
    ("migrations.RunPython(forth, migrations.RunPython.noop, elidable=True)", Unknown, Whole),
    ("migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)", Additive, Whole),
    ("migrations.RunPython(migrations.RunPython.noop)", Additive, No),
    ("migrations.RunSQL('UPDATE x SET y = 1')", Unknown, No),
    ("migrations.RunSQL('UPDATE x SET y = 1', 'UPDATE x SET y = 0')", Unknown, Whole),
    ("migrations.RunSQL('UPDATE x SET y = 1', migrations.RunSQL.noop)", Unknown, Whole),
    ("migrations.RunSQL(migrations.RunSQL.noop, migrations.RunSQL.noop)", Additive, Whole),
    ("declared(migrations.RunSQL('ALTER TABLE x DROP y'), 'destructive')", Destructive, No),
    ("declared(migrations.RunPython(forth, forth), 'additive')", Additive, Whole),
    ("declared(migrations.RunPython(forth, forth), 'additive'), migrations.RunSQL('DELETE FROM x')", Unknown, No),
    ("Own()", Unknown, Whole),
    ("OwnField('Thing', 'x', models.IntegerField(null=True))", Unknown, Whole),
    ("Named('Thing', 'x', models.IntegerField(null=True))", Additive, Whole),
    // Database and state apart.
    (
        "migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField('Thing', 'text')])",
        Additive,
        Whole,
    ),
    (
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.AlterField('Thing', 'text', models.CharField(max_length=20, null=True))], state_operations=[migrations.RemoveField('Thing', 'text')])",
        Additive,
        Unless,
    ),
    ("migrations.SeparateDatabaseAndState(database_operations=[migrations.DeleteModel('Tabled')])", Destructive, Whole),
    (
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL('x')], state_operations=[migrations.AddField('Thing', 'x', models.IntegerField())])",
        Unknown,
        No,
    ),
    (
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.AlterField('Thing', 'text', models.CharField(max_length=40)), migrations.AlterField('Thing', 'text', models.CharField(max_length=30))])",
        Destructive,
        Unless,
    ),
    // Nothing at all.
    ("", Additive, Whole),
];

/// The text of a row's migration.
pub fn second(app: &str, operations: &str) -> String {
    let postgres = if operations.starts_with("postgres") {
        "from django.contrib.postgres import operations as postgres"
    } else {
        ""
    };
    format!(
        "\
from django.db import migrations, models
{postgres}
def forth(apps, schema_editor): pass
def declared(operation, how):
    operation.pannier = how
    return operation
class Own(migrations.operations.base.Operation):
    def state_forwards(self, app_label, state): pass
    def database_forwards(self, app_label, schema_editor, from_state, to_state): pass
class OwnField(migrations.AddField):
    def database_forwards(self, app_label, schema_editor, from_state, to_state): pass
class Named(migrations.AddField):
    pass
class Migration(migrations.Migration):
    dependencies = [('{app}', '0001_initial')]
    operations = [{}]
",
        operations.replace("LABEL", app)
    )
}
