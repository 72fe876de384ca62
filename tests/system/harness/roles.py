"""Login roles of a test's own, each with one of the schema's roles, and rights.sql as a table."""

import psycopg
from psycopg.conninfo import make_conninfo

from . import ROOT
from .daemon import command

PARTS = ("run", "read", "operate")


class Roles:
    """Made by `ackd init-db --roles`; the names begin with the database's, since roles belong to the
    whole server and tests run side by side."""

    def __init__(self, site):
        self._site = site
        self.prefix = site.database.name
        self.init_db(f"--roles={self.prefix}")
        for part in (*PARTS, "owner"):
            self._superuser(f"CREATE ROLE {self.login(part)} LOGIN IN ROLE {self.prefix}_{part}")
        self._superuser(f"CREATE ROLE {self.login('nobody')} LOGIN")

    def _superuser(self, statement):
        with self._site.database.connect() as connection:
            connection.execute(statement)

    def init_db(self, *options, part=None):
        """By the superuser, or by a login role."""
        changes = {"postgres": {"dsn": self.dsn(part)}} if part else {}
        result = command("init-db", *options, "-c", self._site.write_config(**changes))
        assert result.returncode == 0, result.stderr
        return result.stdout

    def login(self, part):
        return f"{self.prefix}_as_{part}"

    def dsn(self, part):
        return make_conninfo(self._site.database.dsn, user=self.login(part))

    def connect(self, part):
        return psycopg.connect(self.dsn(part), autocommit=True, options="-c search_path=ackd")

    def command(self, part, *arguments):
        """Runs a command of ackd as that login role; without what it warns of."""
        config = self._site.write_config("as.yaml", postgres={"dsn": self.dsn(part)})
        result = command(*arguments, "-c", config)
        lines = result.stderr.splitlines(keepends=True)
        result.stderr = "".join(line for line in lines if not line.startswith("warning: "))
        return result

    def run(self, **changes):
        """A daemon with the rights of `run` alone."""
        changes.setdefault("postgres", {}).setdefault("dsn", self.dsn("run"))
        return self._site.start(**changes)

    def cleanup(self):
        for daemon in self._site.daemons():
            daemon.kill()
        query = "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, %s)"
        names = [name for (name,) in self._site.database.rows(query, self.prefix + "_")]
        for statement in ("DROP OWNED BY {} CASCADE", "DROP ROLE {}"):
            self._superuser(statement.format(", ".join(names)))


def rights(site):
    """The rows of rights.sql: (part, kind, object, privilege, columns)"""
    values = (ROOT / "src/pg/rights.sql").read_text().strip()
    return [
        (part, kind, name, privilege, columns.split(", ") if columns else None)
        for part, kind, name, privilege, columns in site.database.rows(values)
    ]
