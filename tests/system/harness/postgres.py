"""A database of a test's own on the session's PostgreSQL."""

from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


class Database:
    def __init__(self, server_dsn, name):
        self.name = name
        self.dsn = make_conninfo(server_dsn, dbname=name)
        self._server_dsn = server_dsn
        self._on_server("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")

    def _on_server(self, statement):
        with psycopg.connect(self._server_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))

    def drop(self):
        self._on_server("DROP DATABASE {} WITH (FORCE)")

    def connect(self):
        return psycopg.connect(self.dsn, autocommit=True, options="-c search_path=ackd")

    def rows(self, query, *parameters):
        with self.connect() as connection:
            return connection.execute(query, parameters).fetchall()

    def value(self, query, *parameters):
        return self.rows(query, *parameters)[0][0]

    def refuse_connections(self):
        """Ends all sessions and lets nobody in again, this test's own looks included."""
        self._on_server("ALTER DATABASE {} ALLOW_CONNECTIONS false")
        with psycopg.connect(self._server_dsn, autocommit=True) as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(query, (self.name,))

    def accept_connections(self):
        self._on_server("ALTER DATABASE {} ALLOW_CONNECTIONS true")

    def has_schema(self):
        return self.value("SELECT to_regclass('ackd.schema_version') IS NOT NULL")

    @contextmanager
    def locked_fences(self, partition=None):
        """No fence (or that of one partition) can move meanwhile, so every batch with it hangs at the
        database."""
        query = "SELECT 1 FROM partitions WHERE partition = %s OR %s FOR UPDATE"
        with self.connect() as connection, connection.transaction():
            connection.execute(query, (partition, partition is None))
            yield

    def waits_for_a_lock(self):
        """Whether a session of somebody else does."""
        return self.value(
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
