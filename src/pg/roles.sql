-- The roles of the schema, of which none logs in: PREFIX_owner has everything in it, and PREFIX_run,
-- PREFIX_read and PREFIX_operate have what rights.sql says. `ackd init-db --roles` makes them; later
-- ones find them by the schema's owner, so that an upgrade grants what is new. PUBLIC, which gets
-- EXECUTE of each new function, has nothing. What is in the schema and not ours is left alone.

DO $$
DECLARE
        prefix text := '@prefix@';
        owner_ text;
        owner_id oid;
        name text;
        missing text[];
        lines text[] := '{}';
        super boolean;
        creates boolean;
        member boolean;
        command text;
BEGIN
        SELECT rolsuper, rolsuper OR rolcreaterole INTO super, creates
        FROM pg_roles WHERE rolname = current_user;
        IF prefix = '' THEN
                SELECT left(pg_get_userbyid(nspowner), -6) INTO prefix FROM pg_namespace
                WHERE nspname = '@name@' AND right(pg_get_userbyid(nspowner), 6) = '_owner'
                        AND (SELECT count(*) = 3 FROM pg_roles, left(pg_get_userbyid(nspowner), -6) p
                             WHERE rolname IN (p || '_run', p || '_read', p || '_operate'));
        END IF;
        owner_ := prefix || '_owner'; -- null: there are no roles
        missing := ARRAY(SELECT prefix || s
                FROM unnest('{_owner,_run,_read,_operate}'::text[]) WITH ORDINALITY u(s, i)
                WHERE prefix || s NOT IN (SELECT rolname FROM pg_roles) ORDER BY i);
        IF creates THEN
                FOREACH name IN ARRAY missing LOOP
                        BEGIN
                                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
                                EXECUTE format('COMMENT ON ROLE %I IS %L', name,
                                        'a role of ackd, made by ackd init-db --roles');
                        EXCEPTION WHEN duplicate_object OR unique_violation THEN
                                NULL; -- made meanwhile, for another database
                        END;
                END LOOP;
                missing := '{}';
                IF owner_ IS NOT NULL AND NOT pg_has_role(owner_, 'USAGE') THEN
                        BEGIN
                                EXECUTE format('GRANT %I TO %I', owner_, current_user);
                        EXCEPTION WHEN insufficient_privilege OR unique_violation THEN
                                NULL; -- what lacks is said below
                        END;
                END IF;
        END IF;
        lines := ARRAY(SELECT format('CREATE ROLE %I NOLOGIN;', m) FROM unnest(missing) m);
        IF NOT super AND (owner_ = ANY(missing) OR NOT pg_has_role(owner_, 'USAGE')) THEN
                member := owner_ <> ALL(missing) AND pg_has_role(owner_, 'MEMBER');
                lines := lines || format(CASE WHEN member THEN 'ALTER ROLE %2$I INHERIT;'
                        ELSE 'GRANT %1$I TO %2$I;' END, owner_, current_user);
        END IF;
        IF lines <> '{}' THEN
                RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
                        MESSAGE = CASE WHEN missing = '{}'
                                THEN format('role "%s" does not have the rights of "%s", to which everything is to belong',
                                        current_user, owner_)
                                ELSE format('role "%s" may not create roles, and %s %s missing',
                                        current_user, array_to_string(missing, ', '),
                                        CASE cardinality(missing) WHEN 1 THEN 'is' ELSE 'are' END)
                                END,
                        HINT = E'a superuser does this once, in psql:\n  '
                                || array_to_string(lines, E'\n  ')
                                || E'\nand then again: ackd init-db --roles'
                                || CASE prefix WHEN '@name@' THEN '' ELSE '=' || prefix END;
        END IF;
        SELECT oid INTO owner_id FROM pg_roles WHERE rolname = owner_;
        FOR command IN
                WITH rights (part, kind, object, privilege, columns) AS (
@rights@
                ), space AS (
                        SELECT oid, nspowner, nspacl FROM pg_namespace WHERE nspname = '@name@'
                ), things (kind, what, owner, acl) AS (
                        SELECT 'table', c.oid::regclass::text, c.relowner, c.relacl
                        FROM pg_class c, space
                        WHERE relnamespace = space.oid AND (relname IN
                                (SELECT object FROM rights WHERE kind = 'table')
                                OR c.oid IN (SELECT inhrelid FROM pg_inherits
                                             WHERE inhparent = 'messages'::regclass))
                        UNION ALL
                        SELECT 'function', p.oid::regprocedure::text, p.proowner,
                                coalesce(p.proacl, acldefault('f', p.proowner))
                        FROM pg_proc p, space
                        WHERE pronamespace = space.oid AND proname IN
                                (SELECT object FROM rights WHERE kind = 'function')
                        UNION ALL
                        SELECT 'schema', '@schema@', nspowner, nspacl FROM space
                ), commands (step, line) AS (
                        -- The schema first: the new owner has to have CREATE in it.
                        SELECT CASE kind WHEN 'schema' THEN 0 ELSE 1 END,
                                format('ALTER %s %s OWNER TO %I', kind, what, owner_)
                        FROM things WHERE owner <> owner_id
                        UNION ALL
                        SELECT 2, format('REVOKE ALL ON %s %s FROM PUBLIC', kind, what)
                                || format(', %I, %I, %I', prefix || '_run', prefix || '_read',
                                        prefix || '_operate')
                        FROM things WHERE acl IS NOT NULL AND prefix IS NOT NULL
                        UNION ALL
                        SELECT 2, format('REVOKE ALL ON %s %s FROM PUBLIC', kind, what)
                        FROM things WHERE acl IS NOT NULL AND prefix IS NULL
                        UNION ALL
                        SELECT 3, format('GRANT %s%s ON %s %s TO %I', privilege,
                                (SELECT '(' || string_agg(quote_ident(c), ', ') || ')'
                                 FROM unnest(string_to_array(columns, ', ')) c),
                                r.kind, CASE r.kind
                                        WHEN 'schema' THEN '@schema@'
                                        WHEN 'table' THEN quote_ident(object)
                                        ELSE (SELECT oid::regprocedure::text FROM pg_proc
                                              WHERE proname = object AND pronamespace =
                                                (SELECT oid FROM space)) END,
                                prefix || '_' || x)
                        FROM rights r, unnest('{run,read,operate}'::text[]) x
                        WHERE prefix IS NOT NULL
                                AND (r.part = x OR (r.part = 'read' AND x = 'operate'))
                )
                SELECT line FROM commands ORDER BY step
        LOOP
                EXECUTE command;
        END LOOP;
END $$;
