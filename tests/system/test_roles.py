"""The roles that init-db makes: what each can do, that it can do no more, and what is said when a
right lacks.

rights.sql is the table of who may do what. It is compared with what PostgreSQL has, and every object
of the schema has to stand in it.
"""

import re

import psycopg
import pytest
from harness import until
from harness.daemon import command
from harness.kafka import Record
from harness.oracle import check_fences, check_resolved
from harness.roles import PARTS, Roles, rights
from harness.site import merge, request
from psycopg.conninfo import make_conninfo

NO_RIGHT = psycopg.errors.InsufficientPrivilege
WAITS_FOR_POSTGRES = 'ackd_restarts_waiting{reason="postgres"}'


@pytest.fixture
def roles(site):
    result = Roles(site)
    yield result
    result.cleanup()


def execute(site, *statements):
    with site.database.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def names(letter, n):
    return [f"{letter}{i}.example.com" for i in range(n)]


# --- the table and the catalogs -----------------------------------------------------------------

OBJECTS = """
SELECT 'table', relname::text FROM pg_class
WHERE relnamespace = 'ackd'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND oid NOT IN (SELECT inhrelid FROM pg_inherits)
UNION ALL SELECT 'function', proname::text FROM pg_proc WHERE pronamespace = 'ackd'::regnamespace
"""

# Everything that anybody but the owner was granted: (grantee, kind, object, privilege, column)
GRANTED = """
SELECT coalesce(r.rolname::text, 'PUBLIC'), kind, object, privilege_type, col FROM (
        SELECT 'schema' AS kind, NULL AS object, NULL AS col, nspowner AS owner, nspacl AS acl
        FROM pg_namespace WHERE oid = 'ackd'::regnamespace
        UNION ALL
        SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, relname::text, NULL, relowner,
                relacl
        FROM pg_class WHERE relnamespace = 'ackd'::regnamespace
        UNION ALL
        SELECT 'table', c.relname::text, attname::text, relowner, attacl
        FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
        WHERE relnamespace = 'ackd'::regnamespace
        UNION ALL
        SELECT 'function', proname::text, NULL, proowner, coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE pronamespace = 'ackd'::regnamespace
) o, aclexplode(acl) a LEFT JOIN pg_roles r ON r.oid = grantee WHERE grantee <> owner
"""


def decided(site, prefix):
    """What rights.sql says, in the form of GRANTED."""
    return {
        (f"{prefix}_{role}", kind, name, privilege, column)
        for part, kind, name, privilege, columns in rights(site)
        for role in PARTS
        if part == role or (part == "read" and role == "operate")
        for column in columns or [None]
    }


def test_every_object_has_a_decision(site):
    site.init_db()
    objects = set(site.database.rows(OBJECTS))
    in_table = {(kind, name) for _, kind, name, _, _ in rights(site) if kind != "schema"}
    assert objects == in_table, "rights.sql has to say who may do what with each object"


def test_nobody_has_more_or_less_than_the_table_says(site, roles):
    for _ in range(2):
        assert set(site.database.rows(GRANTED)) == decided(site, roles.prefix)
        # Whoever is in the owner's role upgrades, without a right on the database.
        roles.init_db(part="owner")
    owners = site.database.rows(
        "SELECT DISTINCT pg_get_userbyid(o)::text FROM (SELECT relowner FROM pg_class WHERE"
        " relnamespace = 'ackd'::regnamespace UNION SELECT proowner FROM pg_proc WHERE pronamespace ="
        " 'ackd'::regnamespace UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'ackd') x(o)"
    )
    assert owners == [(f"{roles.prefix}_owner",)]
    assert not any(
        login for login, in site.database.rows(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)",
            [f"{roles.prefix}_{part}" for part in (*PARTS, "owner")],
        )
    )


def test_what_the_table_never_says(site):
    """Whatever is added to it."""
    site.init_db()
    for part, kind, name, privilege, columns in rights(site):
        assert privilege in ("USAGE", "SELECT", "INSERT", "UPDATE", "EXECUTE"), (name, privilege)
        if privilege == "UPDATE":
            assert columns, f"all columns of {name}"
        if part == "read":
            assert privilege in ("USAGE", "SELECT", "EXECUTE"), (name, privilege)
        if part == "run":
            assert (name, privilege) != ("holds", "UPDATE"), "only a person lifts a hold"
        if privilege in ("INSERT", "UPDATE"):
            assert name != "schema_version"
            assert part == "run" or name in ("holds", "rejected"), (part, name)
    definers = "SELECT proname::text FROM pg_proc WHERE prosecdef AND pronamespace = 'ackd'::regnamespace"
    assert {n for n, in site.database.rows(definers)} == {"make_partitions", "decide"}
    unsafe = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ackd'::regnamespace AND NOT"
        " coalesce(proconfig @> ARRAY['search_path=ackd, pg_temp'], false)"
    )
    assert site.database.rows(unsafe) == []


def test_public_has_nothing_without_roles_too(site):
    site.init_db()
    assert site.database.rows(GRANTED) == []


def test_what_is_not_ours_is_left_alone(site, roles):
    execute(
        site,
        "CREATE VIEW ours AS SELECT 1",
        "GRANT SELECT ON ours TO PUBLIC",
        f"GRANT SELECT ON restarts TO {roles.login('nobody')}",
    )
    roles.init_db(part="owner")
    more = set(site.database.rows(GRANTED)) - decided(site, roles.prefix)
    assert more == {
        ("PUBLIC", "table", "ours", "SELECT", None),
        (roles.login("nobody"), "table", "restarts", "SELECT", None),
    }


# --- what each tries ----------------------------------------------------------------------------

COLUMNS = """
SELECT c.relname::text, attname::text, attidentity <> '' FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'ackd'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0
        AND NOT attisdropped
"""
CALLS = """
SELECT proname::text, 'SELECT ' || proname || '(' || coalesce((SELECT string_agg(
        'NULL::' || format_type(t, NULL), ', ' ORDER BY i)
        FROM unnest(proargtypes::oid[]) WITH ORDINALITY a(t, i)), '') || ')'
FROM pg_proc WHERE pronamespace = 'ackd'::regnamespace AND prorettype <> 'trigger'::regtype
"""


ERRORS = psycopg.errors
REFUSED = (
    NO_RIGHT,
    # Who may not use the schema finds nothing in it.
    ERRORS.UndefinedTable,
    ERRORS.UndefinedFunction,
    ERRORS.UndefinedObject,
    # Nobody can: an identity, a view of two tables.
    ERRORS.GeneratedAlways,
    ERRORS.ObjectNotInPrerequisiteState,
    ERRORS.WrongObjectType,
)


def is_allowed(connection, statement):
    """Nothing of it stays; what is refused for another reason was allowed."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except REFUSED:
        return False
    except psycopg.Error:
        pass
    return True


def attempts(site):
    """(privilege, object, column): a statement"""
    result = {}
    for table, column, _ in site.database.rows(COLUMNS):
        result[("SELECT", table, None)] = f"SELECT * FROM {table} LIMIT 1"
        result[("DELETE", table, None)] = f"DELETE FROM {table}"
        result[("TRUNCATE", table, None)] = f"TRUNCATE {table}"
        result[("DROP", table, None)] = f"ALTER TABLE {table} RENAME TO other"
        result[("INSERT", table, column)] = f'INSERT INTO {table} ("{column}") VALUES (NULL)'
        result[("UPDATE", table, column)] = f'UPDATE {table} SET "{column}" = NULL'
        result[("LOCK", table, None)] = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
    for function, call in site.database.rows(CALLS):
        result[("EXECUTE", function, None)] = call
    result[("CREATE", "schema", None)] = "CREATE TABLE ackd.mine ()"
    return result


def expected(site, part):
    result = set()
    for whose, kind, name, privilege, columns in rights(site):
        if kind != "schema" and (whose == part or (whose == "read" and part == "operate")):
            every = [c for t, c, identity in site.database.rows(COLUMNS) if t == name and not identity]
            if privilege in ("INSERT", "UPDATE"):
                result |= {(privilege, name, column) for column in columns or every}
            else:
                result.add((privilege, name, None))
    return result


@pytest.mark.parametrize("part", [*PARTS, "nobody"])
def test_everything_is_tried(site, roles, part):
    """Each table, column and function by each role."""
    statements = attempts(site)
    with roles.connect(part) as connection:
        allowed = {key for key, s in statements.items() if is_allowed(connection, s)}
    assert allowed == expected(site, part)


# --- the daemon ---------------------------------------------------------------------------------

LIMITS = {
    "cooldown": "1h",
    "fleet_concurrency": 5,
    "groups": [{"match": "g*", "concurrency": 1}],
    "fuse": {"restarts": 30, "period": "1h"},
    "per_host": {"restarts": 100},
}


def test_a_daemon_needs_no_more_than_its_role(site, roles):
    """Messages that are saved and restarted, fail, are suppressed, are rejected by ackd and by
    PostgreSQL; all limits, a blown fuse; a successor."""
    site.create_topic(2)
    execute(site, "ALTER TABLE messages ADD CHECK (payload->>'site' <> 'nowhere')")
    daemon = roles.run(handlers={"restart-host": LIMITS}, retry={"attempts": 1})
    good = [*names("a", 10), *names("g", 3)]
    site.produce(*good, b"no json", request("exit3-x.example.com"), request("bad.example.com", site="nowhere"))
    site.wait_drained()
    site.produce(*good)
    site.wait_drained()
    assert daemon.stop() == 0
    daemon = roles.run(handlers={"restart-host": LIMITS})
    site.produce(*names("f", 40))
    until(lambda: daemon.metrics().get('ackd_restarts_waiting{reason="fuse"}'))
    result = roles.command("operate", "unhold", "*")
    assert result.returncode == 0, result.stderr
    site.wait_drained()
    assert daemon.stop() == 0
    reasons = sorted(row["reason"] for row in site.rejected().values())
    assert len(reasons) == 3 and "refused" in reasons, reasons
    check_resolved(site)
    check_fences(site)
    states = "SELECT DISTINCT state FROM restarts"
    assert {state for (state,) in site.database.rows(states)} == {"done", "failed", "suppressed"}
    assert site.database.value("SELECT count(*) FROM holds WHERE fuse") == 1
    assert not any("permission denied" in str(d.lines) for d in site.daemons())


def test_a_partition_whose_topic_was_made_again(site, roles):
    """The operator decides, the daemon goes on; neither has the other's rights."""
    site.create_topic()
    site.produce(*names("a", 5))
    daemon = roles.run()
    site.wait_drained()
    assert daemon.stop() == 0
    site.remake_topic()
    site.produce(*names("b", 3))
    daemon = roles.run()
    daemon.wait_for(event="partition.stopped", partition=0)
    decide = ["partition", f"{site.topic}/0", "--new-topic", "--why", "made again"]
    for part, lacks in (
        ("read", "permission denied for function decide: role "),
        ("run", f"in psql: GRANT {roles.prefix}_operate TO {roles.login('run')}"),
    ):
        result = roles.command(part, *decide)
        assert result.returncode == 69 and lacks in result.stderr, result.stderr
    result = roles.command("operate", *decide)
    assert result.returncode == 0, result.stderr
    site.wait_drained()
    assert daemon.stop() == 0
    assert {host for host, _ in site.saved().values()} == set(names("b", 3))


def test_a_daemon_without_its_role_says_what_gives_it(site, roles):
    """And what it says is what helps."""
    site.create_topic()
    site.produce(*names("a", 3))
    daemon = site.start(postgres={"dsn": roles.dsn("nobody")})
    line = daemon.wait_for(event="schema.not_ready", level="error")
    assert line["msg"].startswith(
        f'role "{roles.login("nobody")}" lacks USAGE on schema ackd, SELECT on table ackd.schema_version'
        " and "
    )
    grant = re.search(r"; in psql: (GRANT \S+ TO \S+);", line["msg"])[1]
    assert grant == f"GRANT {roles.prefix}_run TO {roles.login('nobody')}"
    execute(site, grant)
    site.wait_drained()
    assert daemon.stop() == 0
    assert sorted(site.restarter.hosts()) == names("a", 3)


def test_an_upgrade_grants_what_is_new(site, roles):
    """A schema of an older build: a function and a column were not granted yet."""
    site.create_topic()
    site.produce(*names("a", 3))
    run = f"{roles.prefix}_run"
    execute(
        site,
        f"REVOKE EXECUTE ON FUNCTION move_fence FROM {run}",
        f"REVOKE UPDATE (exit_status) ON restarts FROM {run}",
        "GRANT EXECUTE ON FUNCTION move_fence TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION move_fence FROM PUBLIC",
    )
    daemon = roles.run()
    line = daemon.wait_for(event="schema.not_ready", level="error")
    assert line["msg"].startswith(
        f'role "{roles.login("run")}" lacks UPDATE of exit_status on table ackd.restarts, '
        "EXECUTE on function ackd.move_fence; run: ackd init-db;"
    )
    roles.init_db()
    site.wait_drained()
    assert daemon.stop() == 0
    assert set(site.database.rows(GRANTED)) == decided(site, roles.prefix)


@pytest.mark.parametrize(
    "right",
    ["INSERT ON messages", "UPDATE (next_offset) ON partitions", "EXECUTE ON FUNCTION claim"],
)
def test_a_right_that_is_taken_away_is_an_outage(site, roles, right):
    """Nothing is rejected for it, and no attempt is charged."""
    site.create_topic()
    daemon = roles.run()
    site.produce(*names("a", 3))
    site.wait_drained()
    execute(site, f"REVOKE {right} FROM {roles.prefix}_run")
    site.produce(*names("b", 3))
    line = daemon.wait_for(msg=re.compile("permission denied"))
    assert "docs/roles.md" in line["msg"]
    roles.init_db()
    site.wait_drained()
    assert daemon.stop() == 0
    assert site.rejected() == {}
    assert sorted(site.restarter.hosts()) == sorted([*names("a", 3), *names("b", 3)])


# --- the commands -------------------------------------------------------------------------------

HOLD = ["hold", "a*", "--why", "x"]
UNHOLD = ["unhold", "b*"]


@pytest.mark.parametrize(
    "part, arguments, lacks",
    [
        ("nobody", ["holds"], "lacks USAGE on schema ackd, SELECT on table ackd.schema_version and .* more"),
        ("nobody", HOLD, "lacks USAGE on schema ackd"),
        ("nobody", ["init-db"], 'schema "ackd" belongs to role "{prefix}_owner"'),
        ("read", ["holds"], None),
        ("read", HOLD, "lacks INSERT of pattern, why, who, since, until on table ackd.holds"),
        ("read", UNHOLD, "UPDATE of lifted_at, lifted_by on table ackd.holds"),
        ("read", ["init-db"], 'schema "ackd" belongs to role "{prefix}_owner"'),
        ("run", ["holds"], None),
        ("run", HOLD, "permission denied for table holds: role .* lacks INSERT of until on table ackd.holds"),
        ("run", UNHOLD, "lacks .*; in psql: GRANT {prefix}_operate"),
        ("run", ["init-db"], 'schema "ackd" belongs to role "{prefix}_owner"'),
        ("operate", ["holds"], None),
        ("operate", HOLD, None),
        ("operate", UNHOLD, None),
        ("operate", ["init-db"], "in psql: GRANT {prefix}_owner TO {login}"),
        ("owner", ["holds"], None),
        ("owner", HOLD, None),
        ("owner", UNHOLD, None),
        ("owner", ["init-db"], None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value if value in PARTS else "",
)
def test_each_command_with_each_role(site, roles, part, arguments, lacks):
    assert roles.command("operate", "hold", "b*", "--why", "x").returncode == 0
    result = roles.command(part, *arguments)
    if lacks is None:
        assert (result.returncode, result.stderr) == (0, "")
        return
    assert result.returncode == 69
    pattern = lacks.format(prefix=roles.prefix, login=roles.login(part))
    assert re.search(pattern, result.stderr), result.stderr
    assert "GRANT" in result.stderr
    assert site.database.value("SELECT count(*) FROM holds WHERE lifted_at IS NULL") == 1


def test_dead_letters_and_stories_with_each_role(site, roles):
    """A reader sees them, an operator drops and replays, the daemon takes a replay; nobody else."""
    site.create_topic()
    daemon = roles.run(retry={"attempts": 1})
    [bad, fails] = site.produce(b"no json", request("exit3-a.example.com"))
    site.wait_drained()
    bad, fails = (f"{site.topic}/{p}/{o}" for p, o in (bad, fails))
    shows = [
        ["dead-letter", "list"],
        ["dead-letter", "show", bad],
        ["status", "exit3-a.example.com"],
        ["status", fails],
    ]
    for arguments in shows:
        result = roles.command("nobody", *arguments)
        assert result.returncode == 69, arguments
        assert f"GRANT {roles.prefix}_read TO {roles.login('nobody')}" in result.stderr, result.stderr
        for part in ("read", "operate"):
            result = roles.command(part, *arguments)
            assert result.returncode == 0, (part, arguments, result.stderr)
    drop = ["dead-letter", "drop", "--why", "x", bad]
    replay = ["dead-letter", "replay", "--why", "x", fails]
    for arguments in (drop, replay):
        for part in ("read", "run"):
            result = roles.command(part, *arguments)
            assert result.returncode == 69, (part, arguments, result.stdout)
            assert "permission denied for table rejected: role " in result.stderr, result.stderr
            assert f"GRANT {roles.prefix}_operate TO {roles.login(part)}" in result.stderr
            assert site.kafka.ends(site.topic)[0] == (0, 2), "it was refused, and produced all the same"
        result = roles.command("operate", *arguments)
        assert result.returncode == 0, (arguments, result.stderr)
    until(lambda: site.database.value("SELECT count(*) FROM rejected WHERE replay_source IS NOT NULL") == 1)
    site.wait_drained()
    assert daemon.stop() == 0
    assert not any("permission denied" in str(line) for line in daemon.lines)


def test_who_is_in_a_role_and_does_not_inherit_is_told(site, roles):
    execute(site, f"ALTER ROLE {roles.login('operate')} NOINHERIT")
    result = roles.command("operate", *HOLD)
    assert result.returncode == 69
    statement = re.search(r"in psql: (ALTER ROLE \S+ INHERIT)", result.stderr)[1]
    execute(site, statement)
    assert roles.command("operate", *HOLD).returncode == 0


# --- making them --------------------------------------------------------------------------------


@pytest.fixture
def builder(site):
    """A login role that owns the database, and what it makes."""
    name = f"{site.database.name}_builder"
    execute(
        site,
        f"CREATE ROLE {name} LOGIN",
        f"ALTER DATABASE {site.database.name} OWNER TO {name}",
    )
    yield name
    for daemon in site.daemons():
        daemon.kill()
    query = "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname, %s)"
    found = [name for (name,) in site.database.rows(query, site.database.name + "_")]
    execute(
        site,
        f"ALTER DATABASE {site.database.name} OWNER TO CURRENT_USER",
        f"DROP OWNED BY {', '.join(found)} CASCADE",
        f"DROP ROLE {', '.join(found)}",
    )


def build(site, builder, *options, **changes):
    dsn = make_conninfo(site.database.dsn, user=builder)
    changes = merge({"postgres": {"dsn": dsn}}, changes)
    return command("init-db", *options, "-c", site.write_config("builder.yaml", **changes))


def test_the_owner_of_the_database_is_told_what_a_superuser_does(site, builder):
    """And when that is done, it does the rest, and upgrades."""
    option = f"--roles={site.database.name}"
    assert build(site, builder).returncode == 0
    for _ in range(2):
        result = build(site, builder, option)
        assert result.returncode == 69
        assert f'role "{builder}" may not create roles, and {site.database.name}_owner, ' in result.stderr
        assert f"and then again: ackd init-db {option}" in result.stderr
    lines = re.findall(r"^  (.+;)$", result.stderr, re.M)
    assert len(lines) == 5
    assert lines[4] == f"GRANT {site.database.name}_owner TO {builder};"
    execute(site, *lines[:4])
    result = build(site, builder, option)
    assert result.returncode == 69 and "may not create" not in result.stderr
    assert re.findall(r"^  (.+;)$", result.stderr, re.M) == lines[4:]
    execute(site, lines[4])
    for options in ([option], [option], []):
        result = build(site, builder, *options)
        assert result.returncode == 0, result.stderr
        assert set(site.database.rows(GRANTED)) == decided(site, site.database.name)


def test_a_role_with_createrole_makes_them_alone(site, builder):
    execute(site, f"ALTER ROLE {builder} CREATEROLE")
    result = build(site, builder, f"--roles={site.database.name}")
    assert result.returncode == 0, result.stderr
    assert f'GRANT "{site.database.name}_run" TO' in result.stdout
    assert set(site.database.rows(GRANTED)) == decided(site, site.database.name)
    assert build(site, builder).returncode == 0


def test_a_schema_without_roles_gets_them_while_a_daemon_runs(site, builder):
    execute(site, f"ALTER ROLE {builder} CREATEROLE")
    assert build(site, builder).returncode == 0
    site.create_topic()
    daemon = site.start(postgres={"dsn": make_conninfo(site.database.dsn, user=builder)})
    site.produce(*names("a", 3))
    site.wait_drained()
    assert build(site, builder, f"--roles={site.database.name}").returncode == 0
    site.produce(*names("b", 3))
    site.wait_drained()
    assert daemon.stop() == 0
    assert set(site.database.rows(GRANTED)) == decided(site, site.database.name)
    assert site.rejected() == {}


def test_two_schemas_have_roles_of_their_own(site, builder):
    """The names are the schema's, when no others are given."""
    execute(site, f"ALTER ROLE {builder} CREATEROLE")
    first, second = f"{site.database.name}_a", f"{site.database.name}_b"
    for schema in (first, second):
        result = build(site, builder, "--roles", postgres={"schema": schema})
        assert result.returncode == 0, result.stderr
    for schema, other in ((first, second), (second, first)):
        query = "SELECT has_table_privilege(%s, %s, 'SELECT'), has_table_privilege(%s, %s, 'SELECT')"
        for role in PARTS:
            table = f'"{schema}".restarts'
            assert site.database.rows(query, f"{schema}_{role}", table, f"{other}_{role}", table) == [
                (True, False)
            ]
    login = f"{site.database.name}_x"
    execute(site, f'CREATE ROLE {login} LOGIN IN ROLE "{second}_operate"')
    config = site.write_config(
        "x.yaml", postgres={"dsn": make_conninfo(site.database.dsn, user=login), "schema": second}
    )
    assert command(*HOLD, "-c", config).returncode == 0
    config = site.write_config(
        "x.yaml", postgres={"dsn": make_conninfo(site.database.dsn, user=login), "schema": first}
    )
    result = command(*HOLD, "-c", config)
    assert result.returncode == 69
    assert f"in psql: GRANT {first}_operate TO {login}" in result.stderr


def test_without_roles_the_remedy_makes_them(site, builder):
    site.init_db()
    result = command(
        *HOLD, "-c",
        site.write_config("x.yaml", postgres={"dsn": make_conninfo(site.database.dsn, user=builder)}),
    )
    assert result.returncode == 69
    assert "; run: ackd init-db --roles, and then in psql: GRANT ackd_operate TO " in result.stderr


@pytest.mark.parametrize(
    "options, part",
    [
        (["--roles=a-b"], 'roles can\'t be called "a-b_run"'),
        (["--roles=pg_x"], "and not pg_…"),
        (["--roles=" + "x" * 56], "at most 55"),
        (["--roles="], "letters, digits and underscores"),
        (["--roles", "mine"], "a prefix is given as --roles=mine"),
        (["-o", "postgres.schema=" + "x" * 60, "--roles"], "at most 55"),
    ],
)
def test_wrong_usage(site, options, part):
    result = command("init-db", *options, "--print", "-c", site.write_config())
    assert result.returncode == 64
    assert part in result.stderr and "ackd init-db --help" in result.stderr
    assert result.stdout == ""


def test_what_is_printed_is_what_is_run(site, roles):
    """A superuser may run the text with psql instead."""
    site.init_db()
    printed = command("init-db", f"--roles={roles.prefix}", "--print", "-c", site.write_config())
    assert printed.returncode == 0
    for word in ("CREATE ROLE", "REVOKE ALL", "GRANT ", f"'{roles.prefix}'"):
        assert word in printed.stdout
    execute(site, f"REVOKE SELECT ON hosts FROM {roles.prefix}_read", printed.stdout)
    assert set(site.database.rows(GRANTED)) == decided(site, roles.prefix)
