"""SQLAlchemy with psycopg2: a column type and distances as its operators, a table and its index created
by the ORM, rows found by distance, the index reflected."""
import os

import vectors

try:
    from sqlalchemy import Column, Index, Integer, create_engine, inspect, select, text
    from sqlalchemy.orm import Session, declarative_base
    from sqlalchemy.types import Float, UserDefinedType
    import psycopg2  # noqa: F401
except ImportError:
    vectors.skip("python3-sqlalchemy or python3-psycopg2")


class Vector(UserDefinedType):
    cache_ok = True

    def __init__(self, dim=None):
        self.dim = dim

    def get_col_spec(self, **kw):
        return "VECTOR" if self.dim is None else "VECTOR(%d)" % self.dim

    def bind_processor(self, dialect):
        return lambda value: None if value is None else vectors.to_text(value)

    def result_processor(self, dialect, coltype):
        return lambda value: None if value is None else vectors.from_text(value)

    class comparator_factory(UserDefinedType.Comparator):
        def l2_distance(self, other):
            return self.op("<->", return_type=Float)(other)

        def cosine_distance(self, other):
            return self.op("<=>", return_type=Float)(other)


Base = declarative_base()
method = {"vector": "hnsw", "vdist": "vdist_hnsw"}[os.environ.get("VDIST_CLIENT_EXTENSION", "vdist")]


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    embedding = Column(Vector(3))


Index("items_embedding", Item.embedding, postgresql_using=method,
      postgresql_with={"m": 16, "ef_construction": 64},
      postgresql_ops={"embedding": "vector_l2_ops"})

engine = create_engine("postgresql+psycopg2://")
Base.metadata.create_all(engine)

with Session(engine) as session:
    session.add_all(Item(id=i, embedding=[i, 1, 2]) for i in range(1, 101))
    session.add(Item(id=101))
    session.commit()
    assert session.get(Item, 7).embedding == [7, 1, 2]
    assert session.get(Item, 101).embedding is None

    session.execute(text("SET enable_seqscan = off"))
    near = session.scalars(select(Item.id).order_by(Item.embedding.l2_distance([50.1, 1, 2])).limit(3)).all()
    assert near == [50, 51, 49], near
    distance = session.scalar(select(Item.embedding.l2_distance([1, 1, 0])).filter(Item.id == 1))
    assert distance == 2, distance
    close = session.scalars(select(Item.id).filter(Item.embedding.cosine_distance([1, 1, 2]) < 1e-9)).all()
    assert close == [1], close

    session.get(Item, 3).embedding = [50.1, 1, 2]
    session.commit()
    nearest = session.scalar(select(Item.id).order_by(Item.embedding.l2_distance([50.1, 1, 2])).limit(1))
    assert nearest == 3, nearest

index, = inspect(engine).get_indexes("items")
assert index["dialect_options"]["postgresql_using"] == method, index
Base.metadata.drop_all(engine)
