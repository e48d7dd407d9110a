//! A site's history: thirty migrations over four apps, with a user model of its own, a squashed part and every class.

/// Beside what every project has: an app whose migrations are switched off.
pub const SETTINGS: &str = "\
INSTALLED_APPS += ['django.contrib.auth', 'django.contrib.contenttypes']
AUTH_USER_MODEL = 'accounts.User'
MIGRATION_MODULES = {'silent': None}
";

/// The models of `accounts`: Django asks for the user's class as it loads its own.
pub const MODELS: &str = "\
from django.contrib.auth.models import AbstractBaseUser
from django.db import models
class User(AbstractBaseUser):
    name = models.CharField(max_length=20, unique=True)
    USERNAME_FIELD = 'name'
";

/// A migration's text: what stands before `|` are its dependencies and attributes, behind it the operations.
pub fn text(short: &str) -> String {
    let (head, operations) = short.split_once('|').unwrap();
    let (dependencies, attributes) = head.split_once(';').unwrap_or((head, ""));
    format!(
        "\
from django.conf import settings
from django.db import migrations, models
def code(apps, schema_editor): pass
class Migration(migrations.Migration):
    dependencies = [{dependencies}]
{attributes}
    operations = [{operations}]
"
    )
}

/// App, name, text.
pub const ALL: &[(&str, &str, &str)] = &[
    (
        "accounts",
        "0001_initial",
        ";    initial = True|migrations.CreateModel('User', [('id', models.BigAutoField(primary_key=True)), ('name', models.CharField(max_length=20))], options={'swappable': 'AUTH_USER_MODEL'})",
    ),
    (
        "accounts",
        "0002_email",
        "('accounts', '0001_initial')|migrations.AddField('User', 'email', models.EmailField(null=True))",
    ),
    ("accounts", "0003_fill_email", "('accounts', '0002_email')|migrations.RunPython(code, migrations.RunPython.noop)"),
    (
        "accounts",
        "0004_email_needed",
        "('accounts', '0003_fill_email')|migrations.AlterField('User', 'email', models.EmailField())",
    ),
    (
        "accounts",
        "0005_email_unique",
        "('accounts', '0004_email_needed')|migrations.AddConstraint('User', models.UniqueConstraint(fields=['email'], name='one'))",
    ),
    (
        "polls",
        "0001_initial",
        "migrations.swappable_dependency(settings.AUTH_USER_MODEL);    initial = True|migrations.CreateModel('Question', [('id', models.AutoField(primary_key=True)), ('owner', models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE))])",
    ),
    (
        "polls",
        "0002_text",
        "('polls', '0001_initial')|migrations.AddField('Question', 'text', models.CharField(max_length=20, null=True))",
    ),
    (
        "polls",
        "0003_longer",
        "('polls', '0002_text')|migrations.AlterField('Question', 'text', models.CharField(max_length=40, null=True))",
    ),
    (
        "polls",
        "0004_shorter",
        "('polls', '0003_longer')|migrations.AlterField('Question', 'text', models.CharField(max_length=30, null=True))",
    ),
    (
        "polls",
        "0002_squashed_0004",
        "('polls', '0001_initial');    replaces = [('polls', '0002_text'), ('polls', '0003_longer'), ('polls', '0004_shorter')]|migrations.AddField('Question', 'text', models.CharField(max_length=30, null=True))",
    ),
    (
        "polls",
        "0005_choice",
        "('polls', '0002_squashed_0004')|migrations.CreateModel('Choice', [('id', models.AutoField(primary_key=True)), ('question', models.ForeignKey('Question', models.CASCADE))]), migrations.AddField('Choice', 'votes', models.IntegerField(default=0))",
    ),
    (
        "polls",
        "0006_index",
        "('polls', '0005_choice');    atomic = False|migrations.AddIndex('Question', models.Index(fields=['text'], name='by_text'))",
    ),
    ("polls", "0007_rename", "('polls', '0006_index')|migrations.RenameField('Choice', 'votes', 'count')"),
    (
        "polls",
        "0008_wider",
        "('polls', '0007_rename')|migrations.AlterField('Choice', 'count', models.BigIntegerField(default=0))",
    ),
    (
        "polls",
        "0009_forget",
        "('polls', '0008_wider')|migrations.SeparateDatabaseAndState(database_operations=[migrations.AlterField('Choice', 'count', models.BigIntegerField(null=True))], state_operations=[migrations.RemoveField('Choice', 'count')])",
    ),
    (
        "polls",
        "0010_drop",
        "('polls', '0009_forget');    pannier = 'additive'|migrations.RunSQL('ALTER TABLE polls_choice DROP COLUMN count', migrations.RunSQL.noop)",
    ),
    (
        "shop",
        "0001_initial",
        "('accounts', '__first__')|migrations.CreateModel('Item', [('id', models.AutoField(primary_key=True)), ('price', models.IntegerField())])",
    ),
    (
        "shop",
        "0002_stock",
        "('shop', '0001_initial')|migrations.AddField('Item', 'stock', models.IntegerField(default=0))",
    ),
    (
        "shop",
        "0003_price",
        "('shop', '0002_stock')|migrations.AlterField('Item', 'price', models.DecimalField(max_digits=8, decimal_places=2))",
    ),
    (
        "shop",
        "0004_tag",
        "('shop', '0003_price')|migrations.CreateModel('Tag', [('id', models.AutoField(primary_key=True))]), migrations.AddField('Item', 'tags', models.ManyToManyField('Tag'))",
    ),
    ("shop", "0005_label", "('shop', '0004_tag')|migrations.RenameModel('Tag', 'Label')"),
    ("shop", "0006_net", "('shop', '0005_label')|migrations.AddField('Item', 'net', models.IntegerField(null=True))"),
    ("shop", "0007_copy", "('shop', '0006_net')|migrations.RunSQL('UPDATE shop_item SET net = price')"),
    ("shop", "0008_code", "('shop', '0007_copy')|migrations.RunPython(code)"),
    (
        "shop",
        "0009_untag",
        "('shop', '0008_code')|migrations.RemoveField('Item', 'tags'), migrations.DeleteModel('Label')",
    ),
    (
        "audit",
        "0001_initial",
        ";    run_before = [('shop', '0002_stock')]|migrations.CreateModel('Entry', [('id', models.AutoField(primary_key=True)), ('at', models.DateTimeField(auto_now_add=True))])",
    ),
    ("audit", "0002_ordered", "('audit', '0001_initial')|migrations.AlterModelOptions('Entry', {'ordering': ['at']})"),
    (
        "audit",
        "0003_note",
        "('audit', '0002_ordered')|migrations.AddField('Entry', 'note', models.TextField(db_default=''))",
    ),
    ("audit", "0004_table", "('audit', '0003_note')|migrations.AlterModelTable('Entry', 'log')"),
    ("audit", "0005_no_time", "('audit', '0004_table'), ('shop', '__latest__')|migrations.RemoveField('Entry', 'at')"),
    ("silent", "0001_initial", "|migrations.CreateModel('Never', [('id', models.AutoField(primary_key=True))])"),
];
