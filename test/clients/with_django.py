"""Django with psycopg2: a field, distances and an index of the program's own, as Django's documentation says to
write them; a model's table and its index by a migration's operations, rows by distance, an aggregate."""
import os

import vectors

try:
    import django
    from django.conf import settings
    import psycopg2  # noqa: F401
except ImportError:
    vectors.skip("python3-django or python3-psycopg2")

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql",
                                          "NAME": os.environ["PGDATABASE"], "USER": os.environ.get("PGUSER", ""),
                                          "HOST": os.environ.get("PGHOST", ""), "PORT": os.environ.get("PGPORT", "")}},
                   DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.contrib.postgres.indexes import PostgresIndex  # noqa: E402
from django.contrib.postgres.operations import CreateExtension  # noqa: E402
from django.db import connection, migrations, models  # noqa: E402
from django.db.migrations.state import ProjectState  # noqa: E402

extension = os.environ.get("VDIST_CLIENT_EXTENSION", "vdist")
method = {"vector": "hnsw", "vdist": "vdist_hnsw"}[extension]


class VectorField(models.Field):
    def __init__(self, *args, dimensions=None, **kwargs):
        self.dimensions = dimensions
        super().__init__(*args, **kwargs)

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, dict(kwargs, dimensions=self.dimensions)

    def db_type(self, connection):
        return "vector" if self.dimensions is None else "vector(%d)" % self.dimensions

    def from_db_value(self, value, expression, connection):
        return None if value is None else vectors.from_text(value)

    def get_prep_value(self, value):
        return None if value is None else vectors.to_text(value)


class Distance(models.Func):
    output_field = models.FloatField()

    def __init__(self, expression, vector):
        super().__init__(expression, models.Value(vector, output_field=VectorField()))

    def as_sql(self, compiler, connection, **extra):
        return super().as_sql(compiler, connection, template="(%(expressions)s::vector)",
                              arg_joiner=" %s " % self.operator, **extra)


class L2Distance(Distance):
    operator = "<->"


class CosineDistance(Distance):
    operator = "<=>"


class MaxInnerProduct(Distance):
    operator = "<#>"


class HnswIndex(PostgresIndex):
    suffix = method

    def __init__(self, *expressions, m=None, ef_construction=None, **kwargs):
        self.m = m
        self.ef_construction = ef_construction
        super().__init__(*expressions, **kwargs)

    def deconstruct(self):
        path, args, kwargs = super().deconstruct()
        return path, args, dict(kwargs, m=self.m, ef_construction=self.ef_construction)

    def get_with_params(self):
        return ["m = %d" % self.m, "ef_construction = %d" % self.ef_construction]


class Migration(migrations.Migration):
    operations = [
        CreateExtension(extension),
        migrations.CreateModel("Item", [("id", models.AutoField(primary_key=True)),
                                        ("embedding", VectorField(dimensions=3, null=True))]),
        migrations.AddIndex("Item", HnswIndex(name="items_embedding", fields=["embedding"], m=16,
                                              ef_construction=64, opclasses=["vector_l2_ops"])),
    ]


migration = Migration("0001", "shop")
with connection.schema_editor() as editor:
    state = migration.apply(ProjectState(), editor)
Item = state.apps.get_model("shop", "Item")

Item.objects.bulk_create([Item(embedding=[i, 1, 2]) for i in range(1, 101)] + [Item()])
assert Item.objects.get(pk=7).embedding == [7, 1, 2]
assert Item.objects.get(pk=101).embedding is None
assert Item.objects.get(embedding=[9, 1, 2]).pk == 9

with connection.cursor() as cursor:
    cursor.execute("SET enable_seqscan = off")
by_distance = Item.objects.order_by(L2Distance("embedding", [50.1, 1, 2]))
plan = by_distance[:3].explain()
assert "items_embedding" in plan, plan
near = [item.pk for item in by_distance[:3]]
assert near == [50, 51, 49], near
item = Item.objects.annotate(distance=L2Distance("embedding", [1, 1, 0])).get(pk=1)
assert item.distance == 2, item.distance
close = Item.objects.alias(distance=CosineDistance("embedding", [1, 1, 2])).filter(distance__lt=1e-9)
assert [item.pk for item in close] == [1], close
largest = Item.objects.filter(embedding__isnull=False).order_by(MaxInnerProduct("embedding", [1, 0, 0])).first()
assert largest.pk == 100, largest.pk
mean = Item.objects.filter(pk__lte=3).aggregate(mean=models.Avg("embedding", output_field=VectorField()))
assert mean == {"mean": [2, 1, 2]}, mean

item = Item.objects.get(pk=3)
item.embedding = [50.1, 1, 2]
item.save()
assert by_distance.first().pk == 3, by_distance.first().pk

constraints = connection.introspection.get_constraints(connection.cursor(), "shop_item")
assert constraints["items_embedding"]["type"] == method, constraints
with connection.schema_editor() as editor:
    editor.delete_model(Item)
