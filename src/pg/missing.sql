-- What the connected role lacks of the rights of a part, as a sentence with its remedy; null: nothing.
-- It asks the catalogs alone, so it works without any right. What is not there is not missed: that is
-- for the check of the version.
WITH rights (part, kind, object, privilege, columns) AS (
@rights@
), one AS (
        SELECT r.*, c AS col, row_number() OVER () + CASE WHEN kind = 'schema' THEN 0
                WHEN part = '@part@' THEN 1000 ELSE 2000 END AS n -- what is said first
        FROM rights r LEFT JOIN LATERAL unnest(string_to_array(columns, ', ')) c ON true
        WHERE part = '@part@' OR (part = 'read' AND '@part@' = 'operate')
), space AS (
        SELECT oid, left(pg_get_userbyid(nspowner), -6) AS prefix,
                right(pg_get_userbyid(nspowner), 6) = '_owner' AS owned
        FROM pg_namespace WHERE nspname = '@name@'
), lacks AS (
        SELECT min(n) AS n, format('%s%s on %s %s', privilege,
                ' of ' || string_agg(col, ', ' ORDER BY n), kind, concat_ws('.', '@name@', object))
                AS what
        FROM one, space
        WHERE CASE kind
                WHEN 'schema' THEN NOT has_schema_privilege(space.oid, privilege)
                WHEN 'function' THEN EXISTS (SELECT FROM pg_proc
                        WHERE pronamespace = space.oid AND proname = object
                                AND NOT has_function_privilege(pg_proc.oid, privilege))
                ELSE EXISTS (SELECT FROM pg_class c
                        LEFT JOIN pg_attribute a ON attrelid = c.oid AND attname = col
                        WHERE relnamespace = space.oid AND relname = object
                                AND NOT CASE WHEN col IS NULL THEN
                                        has_table_privilege(c.oid, privilege)
                                ELSE coalesce(has_column_privilege(c.oid, attnum, privilege), true)
                                END)
                END
        GROUP BY kind, object, privilege
), role AS (
        SELECT r.oid, coalesce(prefix, '@name@') || '_@part@' AS name
        FROM space LEFT JOIN pg_roles r ON owned AND rolname = prefix || '_@part@'
)
SELECT format('role "%s" lacks %s%s; %s', current_user,
        (SELECT string_agg(what, ', ' ORDER BY n) FROM (SELECT * FROM lacks ORDER BY n LIMIT 2) l),
        CASE WHEN count(*) > 2 THEN format(' and %s more', count(*) - 2) ELSE '' END,
        (SELECT CASE
                WHEN oid IS NULL THEN format('run: ackd init-db --roles, and then in psql: GRANT '
                        '%I TO %I', '@name@_@part@', current_user)
                WHEN pg_has_role(oid, 'USAGE') THEN 'run: ackd init-db'
                WHEN pg_has_role(oid, 'MEMBER') THEN
                        format('in psql: ALTER ROLE %I INHERIT', current_user)
                ELSE format('in psql: GRANT %I TO %I', name, current_user)
        END FROM role))
FROM lacks HAVING count(*) > 0
