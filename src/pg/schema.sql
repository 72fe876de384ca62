-- The tables and functions of ackd. Idempotent: it makes what is missing and upgrades what an older
-- version made, so `ackd init-db` runs exactly what `ackd init-db --print` prints.
--
-- The role that runs it owns everything, or PREFIX_owner of the roles that `--roles` makes.

BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL lock_timeout = '30s';

-- Two at once: the second waits and finds everything made.
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('init-db @name@', 0)); END $$;

DO $$
DECLARE
        space oid;
        owner_ oid;
BEGIN
        SELECT oid, nspowner INTO space, owner_ FROM pg_namespace WHERE nspname = '@name@';
        -- Not IF NOT EXISTS: it would ask for CREATE on the database when there is nothing to make.
        IF NOT FOUND THEN
                CREATE SCHEMA @schema@;
        ELSIF NOT pg_has_role(owner_, 'USAGE') AND NOT has_schema_privilege(space, 'CREATE') THEN
                RAISE EXCEPTION 'schema "@name@" belongs to role "%", and role "%" does not have its rights',
                        pg_get_userbyid(owner_), current_user USING ERRCODE = 'insufficient_privilege',
                        HINT = format('in psql: GRANT %I TO %I', pg_get_userbyid(owner_), current_user);
        END IF;
END $$;
SET LOCAL search_path = @schema@, pg_temp;

CREATE TABLE IF NOT EXISTS schema_version (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        version integer NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE
        present integer;
BEGIN
        IF current_setting('server_encoding') <> 'UTF8' THEN
                RAISE EXCEPTION 'the encoding of database "%" is %, and ackd needs UTF8',
                        current_database(), current_setting('server_encoding')
                        USING HINT = 'make another: createdb --encoding=UTF8 --template=template0 NAME';
        END IF;
        SELECT version INTO present FROM schema_version;
        IF present > @version@ THEN
                RAISE EXCEPTION 'the schema has version %, made by a newer ackd; this one knows version @version@',
                        present USING HINT = 'run init-db of the newest ackd that is in use';
        END IF;
END $$;

-- A source is one incarnation of a partition for one cluster and group; next_offset is its fence:
-- everything below it is saved. A column that moves with each batch is in no index, and half of each
-- page is left free: the updates stay on their page.
CREATE TABLE IF NOT EXISTS partitions (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        cluster_id text NOT NULL,
        group_id text NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        next_offset bigint NOT NULL,
        instance text NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        retired_at timestamptz,
        decided_from bigint, -- where the operator wants it to go on; null when that is done
        decided_by text,
        decided_why text,
        decided_at timestamptz
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX IF NOT EXISTS partitions_live
        ON partitions (cluster_id, group_id, topic, partition) WHERE retired_at IS NULL;

-- Payloads are json, which keeps the bytes as they came and takes what jsonb refuses. The fence sees
-- to it that no row is there twice: a unique index would cost a quarter of the throughput and more.
-- The BRIN index finds rows by the time of their receipt, for a tenth of the server's time; with the
-- offset in it as well it would be a quarter.
CREATE TABLE IF NOT EXISTS messages (
        source integer NOT NULL,
        "offset" bigint NOT NULL,
        key bytea,
        host text,
        request_id text,
        payload json NOT NULL,
        headers json,
        produced_at timestamptz,
        received_at timestamptz NOT NULL
) PARTITION BY RANGE (received_at);

DO $$
BEGIN
        -- IF NOT EXISTS would take its lock before it looks, and wait for each COPY under way.
        IF to_regclass('messages_brin') IS NULL THEN
                CREATE INDEX messages_brin ON messages
                        USING brin (received_at) WITH (autosummarize = on);
        END IF;
END $$;

CREATE TABLE IF NOT EXISTS rejected (
        source integer NOT NULL,
        "offset" bigint NOT NULL,
        key bytea,
        value bytea,
        headers json,
        host text,
        handler text,
        reason text NOT NULL,
        detail text,
        attempts integer NOT NULL DEFAULT 0,
        handlers_done text[] NOT NULL DEFAULT '{}',
        produced_at timestamptz,
        received_at timestamptz, -- first, by whichever instance
        rejected_at timestamptz NOT NULL DEFAULT now(),
        outbox text NOT NULL DEFAULT 'none' CHECK (outbox IN ('none', 'pending', 'sent')),
        outbox_attempts integer NOT NULL DEFAULT 0,
        outbox_after timestamptz, -- it is not sent before: whoever took it has until then
        outbox_error text,
        dead_lettered_at timestamptz,
        replayed_at timestamptz,
        replayed_by text,
        replayed_why text,
        replay_source integer, -- the message that stands for it now, once a daemon has received
        replay_offset bigint,  -- that; null: none has
        replay_received_at timestamptz, -- when that was received first
        dropped_at timestamptz,
        dropped_by text,
        dropped_why text,
        PRIMARY KEY (source, "offset")
);

-- What waits for a person, those of it whose host is to be looked at, and what waits for the
-- dead-letter topic, by when it is due: each is asked for every few seconds by every daemon, and few
-- of all rows are in one.
CREATE INDEX IF NOT EXISTS rejected_open ON rejected (rejected_at)
        WHERE replayed_at IS NULL AND dropped_at IS NULL;
CREATE INDEX IF NOT EXISTS rejected_unknown ON rejected (rejected_at)
        WHERE reason = 'unknown' AND replayed_at IS NULL AND dropped_at IS NULL;
CREATE INDEX IF NOT EXISTS rejected_pending
        ON rejected ((coalesce(outbox_after, '-infinity'::timestamptz))) WHERE outbox = 'pending';

-- Of which row a message was the replay.
CREATE INDEX IF NOT EXISTS rejected_replays ON rejected (replay_source, replay_offset)
        WHERE replay_source IS NOT NULL;

CREATE OR REPLACE VIEW rejected_messages AS
SELECT p.cluster_id, p.group_id, p.topic, p.partition, r.*
FROM rejected r JOIN partitions p ON p.id = r.source;

CREATE OR REPLACE VIEW saved_messages AS
SELECT p.cluster_id, p.group_id, p.topic, p.partition, m."offset", m.key, m.host, m.request_id,
        m.payload, m.headers, m.produced_at, m.received_at, m.source
FROM messages m JOIN partitions p ON p.id = m.source;

-- Makes the monthly partitions (UTC) of `messages` from last month, for clocks that differ, to
-- @ahead months from now; returns how many it made. It runs with its owner's rights, so that a
-- daemon needs none to make tables. CREATE ... PARTITION OF and CREATE INDEX on the parent would wait
-- for each COPY that is under way, a frozen daemon's included, and hold up all others meanwhile;
-- ATTACH does not.
CREATE OR REPLACE FUNCTION make_partitions(ahead integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
DECLARE
        this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
        month timestamp;
        name text;
        made integer := 0;
BEGIN
        IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 120 THEN
                RAISE EXCEPTION 'make_partitions wants 0 to 120 months, not %', ahead
                        USING ERRCODE = 'AK003';
        END IF;
        FOR i IN 0..1 LOOP
                -- Without the lock first: every daemon asks, and mostly there is nothing to do.
                FOR month IN SELECT this_month + make_interval(months => m)
                             FROM generate_series(-1, ahead) m LOOP
                        name := 'messages_' || to_char(month, 'YYYY_MM');
                        -- Not to_regclass: it remembers what was missing before the lock.
                        IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname = '@name@' AND c.relname = name) THEN
                                CONTINUE;
                        END IF;
                        IF i = 0 THEN
                                PERFORM pg_advisory_xact_lock(hashtextextended(
                                        'make_partitions @name@', 0));
                                EXIT;
                        END IF;
                        EXECUTE format('CREATE TABLE %I (LIKE messages INCLUDING ALL)', name);
                        EXECUTE format('ALTER TABLE messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                                name, month AT TIME ZONE 'UTC',
                                (month + interval '1 month') AT TIME ZONE 'UTC');
                        made := made + 1;
                END LOOP;
        END LOOP;
        RETURN made;
END $$;

-- The fence of a batch, moved last. Either all of them move or it raises, which takes the rows of
-- the same transaction back. In order of source: two daemons can't deadlock.
CREATE OR REPLACE FUNCTION move_fence(sources integer[], expected bigint[], next bigint[])
RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        i integer;
        found_at bigint;
        retired timestamptz;
        moved integer := 0;
BEGIN
        IF cardinality(sources) IS DISTINCT FROM cardinality(expected)
           OR cardinality(sources) IS DISTINCT FROM cardinality(next)
           OR coalesce(cardinality(sources), 0) = 0
           OR array_position(sources, NULL) IS NOT NULL
           OR array_position(expected, NULL) IS NOT NULL
           OR array_position(next, NULL) IS NOT NULL THEN
                RAISE EXCEPTION 'move_fence wants three arrays of one length without nulls'
                        USING ERRCODE = 'AK003';
        END IF;
        FOR i IN SELECT s FROM generate_subscripts(sources, 1) s ORDER BY sources[s] LOOP
                IF next[i] < expected[i] THEN
                        RAISE EXCEPTION 'the fence of source % can''t move back from % to %',
                                sources[i], expected[i], next[i] USING ERRCODE = 'AK003';
                END IF;
                UPDATE partitions SET next_offset = next[i], updated_at = clock_timestamp()
                WHERE id = sources[i] AND next_offset = expected[i] AND retired_at IS NULL;
                IF NOT FOUND THEN
                        SELECT next_offset, retired_at INTO found_at, retired
                        FROM partitions WHERE id = sources[i];
                        IF NOT FOUND OR retired IS NOT NULL THEN
                                RAISE EXCEPTION 'source % is not there any more (its fence was expected at %)',
                                        sources[i], expected[i] USING ERRCODE = 'AK001';
                        END IF;
                        RAISE EXCEPTION 'the fence of source % was expected at % and found at %',
                                sources[i], expected[i], found_at USING ERRCODE = 'AK001';
                END IF;
                moved := moved + 1;
        END LOOP;
        RETURN moved;
END $$;

-- The fence of one source moves without rows, to where an operator wants it, or stays where it is; his
-- decision is done.
CREATE OR REPLACE FUNCTION skip_to(source integer, expected bigint, next bigint) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
BEGIN
        UPDATE partitions SET decided_from = NULL WHERE id = source;
        RETURN move_fence(ARRAY[source], ARRAY[expected], ARRAY[next]);
END $$;

-- The operator's decision about a partition that stands still. `anew`: its topic was made again, so
-- what was saved of the old one says nothing about it. The daemon that has the partition finds it
-- within seconds. `expected` is the live source that he was shown, null for none. What was saved of
-- it from `committed` on and is read no more has no ack that counts: with `expires` it is kept in
-- `rejected`, unless the ledger says that its restart is done. With the commit gone (null) nobody
-- knows what was acked; what the ledger was asked for, and has no good end of, was not. That is done here and not by the daemon, since it reads the whole of `messages` and
-- nothing may wait for it; a message whose restart ends at this moment gets a row too many.
-- `outbox_`: that column of theirs, "pending" with a dead-letter topic. Returns how many were kept. It
-- runs with its owner's rights, so that an operator needs none to move fences.
DROP FUNCTION IF EXISTS decide(text, text, text, integer, bigint, boolean, text, text);
DROP FUNCTION IF EXISTS decide(text, text, text, integer, bigint, boolean, text, text, integer,
        bigint, boolean);
CREATE OR REPLACE FUNCTION decide(cluster text, "group" text, topic_ text, partition_ integer,
        from_ bigint, anew boolean, who text, why text, expected integer, committed bigint,
        expires boolean, outbox_ text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
DECLARE
        live integer;
        kept bigint := 0;
        reopened bigint := 0;
BEGIN
        SELECT id INTO live FROM partitions
        WHERE cluster_id = cluster AND group_id = "group" AND topic = topic_
                AND partition = partition_ AND retired_at IS NULL;
        IF live IS DISTINCT FROM expected THEN
                RAISE EXCEPTION 'its source is % now and was % a moment ago; look again',
                        coalesce(live::text, 'none'), coalesce(expected::text, 'none')
                        USING ERRCODE = 'AK001';
        END IF;
        IF expires THEN
                INSERT INTO rejected (source, "offset", key, value, headers, host, handler, reason,
                        detail, handlers_done, produced_at, received_at, outbox)
                SELECT m.source, m."offset", m.key, convert_to(m.payload::text, 'UTF8'), m.headers,
                        m.host, 'restart-host', 'expired',
                        format('saved, but its ack is not confirmed, and %s (%s) decided to go on '
                                'at offset %s%s: whether it was restarted is not known', who, why,
                                from_, CASE WHEN anew THEN ' of a new topic' ELSE '' END),
                        '{save}', m.produced_at, m.received_at, outbox_
                FROM messages m
                WHERE m.source = expected AND (anew OR m."offset" < from_)
                        AND (m."offset" >= committed OR (committed IS NULL AND EXISTS (
                                SELECT FROM restarts x
                                WHERE x.source = m.source AND x."offset" = m."offset")))
                        AND NOT EXISTS (SELECT FROM restarts x
                                WHERE x.source = m.source AND x."offset" = m."offset"
                                        AND x.state IN ('done', 'suppressed'))
                ON CONFLICT (source, "offset") DO NOTHING;
                GET DIAGNOSTICS kept = ROW_COUNT;
                -- A replay has no row in `messages` when its message was saved before. What stood for
                -- the rejected one is gone; it waits for somebody again.
                UPDATE rejected r SET replayed_at = NULL, replayed_by = NULL, replayed_why = NULL,
                        replay_source = NULL, replay_offset = NULL, replay_received_at = NULL,
                        detail = concat_ws('; ', r.detail, format('replayed as %s/%s/%s, whose ack '
                                'is not confirmed, and %s (%s) decided to go on at offset %s%s',
                                topic_, partition_, r.replay_offset, who, why, from_,
                                CASE WHEN anew THEN ' of a new topic' ELSE '' END))
                WHERE r.replay_source = expected AND r.replay_offset >= coalesce(committed, 0)
                        AND (anew OR r.replay_offset < from_)
                        AND (r.replay_offset >= (SELECT next_offset FROM partitions
                                                 WHERE id = expected)
                             OR NOT ('restart-host' = ANY (r.handlers_done) OR EXISTS (
                                SELECT FROM restarts x
                                WHERE x.source = r.replay_source
                                        AND x."offset" = r.replay_offset
                                        AND x.state IN ('done', 'suppressed'))))
                        AND NOT EXISTS (SELECT FROM rejected s WHERE s.source = r.replay_source
                                AND s."offset" = r.replay_offset);
                GET DIAGNOSTICS reopened = ROW_COUNT;
        END IF;
        IF anew THEN
                UPDATE partitions SET retired_at = now() WHERE id = expected;
        END IF;
        PERFORM adopt(cluster, "group", topic_, partition_, from_, who);
        -- A row that was made for a decision has no fence of its own: it moves with the next one.
        UPDATE partitions SET decided_from = from_, decided_by = who, decided_why = why,
                decided_at = now(), next_offset = CASE
                        WHEN decided_from = next_offset AND updated_at = created_at THEN from_
                        ELSE next_offset END
        WHERE cluster_id = cluster AND group_id = "group" AND topic = topic_
                AND partition = partition_ AND retired_at IS NULL;
        RETURN kept + reopened;
END $$;

-- The row of a source; null when there is a live one already.
CREATE OR REPLACE FUNCTION adopt(cluster text, "group" text, topic_ text, partition_ integer,
        next bigint, instance_ text) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = @schema@, pg_temp AS $$
        INSERT INTO partitions (cluster_id, group_id, topic, partition, next_offset, instance,
                created_at, updated_at)
        VALUES (cluster, "group", topic_, partition_, next, instance_, now(), now())
        ON CONFLICT (cluster_id, group_id, topic, partition) WHERE retired_at IS NULL DO NOTHING
        RETURNING id;
$$;

-- Text of unknown quality as json, or null: a row of `rejected` must not fail for its headers.
CREATE OR REPLACE FUNCTION json_or_null(bytes bytea) RETURNS json
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = @schema@, pg_temp AS $$
BEGIN
        RETURN convert_from(bytes, 'UTF8')::json;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION text_or_null(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = @schema@, pg_temp AS $$
BEGIN
        RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NULL;
END $$;

-- A batch that PostgreSQL refused, row by row: what it refuses again goes to `rejected`, its
-- neighbours are saved, and the fences move once, at the end. Everything that could be at fault
-- comes as bytes and is converted inside the row's own block. Only the SQLSTATE classes that are a
-- row's own fault are caught. When every row is refused, another one is tried and taken back: only if
-- the table takes that, they are at fault themselves. Otherwise nothing is committed. (How many there
-- are says nothing: at low traffic batches have one row and a broken table would reject them one by
-- one, and a few bad rows at the front of a partition would never meet a good one.)
-- Returns the refused rows. `outbox_`: that column of theirs, "pending" with a dead-letter topic.
DROP FUNCTION IF EXISTS save_each(integer[], bigint[], bytea[], bytea[], bytea[], bytea[], bytea[],
        timestamptz[], timestamptz[], text[], integer[], bigint[], bigint[]);
CREATE OR REPLACE FUNCTION save_each(sources integer[], offsets bigint[], keys bytea[],
        hosts bytea[], request_ids bytea[], payloads bytea[], header_texts bytea[],
        produced timestamptz[], received timestamptz[], done text[], firsts timestamptz[],
        fence_sources integer[], fence_expected bigint[], fence_next bigint[], outbox_ text)
RETURNS TABLE (source integer, "offset" bigint, code text, message text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
#variable_conflict use_column
DECLARE
        n integer := coalesce(cardinality(sources), 0);
        refused integer := 0;
        state text;
        why text;
        constraint_ text;
        table_ text;
BEGIN
        IF cardinality(offsets) IS DISTINCT FROM n OR cardinality(keys) IS DISTINCT FROM n
           OR cardinality(hosts) IS DISTINCT FROM n OR cardinality(request_ids) IS DISTINCT FROM n
           OR cardinality(payloads) IS DISTINCT FROM n
           OR cardinality(header_texts) IS DISTINCT FROM n
           OR cardinality(produced) IS DISTINCT FROM n OR cardinality(received) IS DISTINCT FROM n
           OR cardinality(done) IS DISTINCT FROM n OR cardinality(firsts) IS DISTINCT FROM n THEN
                RAISE EXCEPTION 'save_each wants arrays of one length' USING ERRCODE = 'AK003';
        END IF;
        -- A block that fails lets go of its locks: whoever mends the table meanwhile would come in
        -- between two rows, and those refused before it would look like the only bad ones.
        LOCK TABLE messages IN ROW EXCLUSIVE MODE;
        -- A deferred constraint would speak at the commit, when nobody can tell whose row it means.
        SET CONSTRAINTS ALL IMMEDIATE;
        FOR i IN 1..n LOOP
                BEGIN
                        INSERT INTO messages (source, "offset", key, host, request_id, payload,
                                headers, produced_at, received_at)
                        VALUES (sources[i], offsets[i], keys[i], convert_from(hosts[i], 'UTF8'),
                                convert_from(request_ids[i], 'UTF8'),
                                convert_from(payloads[i], 'UTF8')::json,
                                convert_from(header_texts[i], 'UTF8')::json, produced[i],
                                received[i]);
                EXCEPTION WHEN data_exception OR integrity_constraint_violation
                               OR program_limit_exceeded THEN
                        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, why = MESSAGE_TEXT,
                                constraint_ = CONSTRAINT_NAME, table_ = TABLE_NAME;
                        -- "No partition of relation found for row" names the table alone, a CHECK its
                        -- constraint too, a trigger that raises it neither.
                        IF state = '23514' AND constraint_ = '' AND table_ <> '' THEN
                                RAISE;
                        END IF;
                        refused := refused + 1;
                        INSERT INTO rejected (source, "offset", key, value, headers, host, handler,
                                reason, detail, attempts, handlers_done, produced_at, received_at,
                                outbox)
                        VALUES (sources[i], offsets[i], keys[i], payloads[i],
                                json_or_null(header_texts[i]), text_or_null(hosts[i]), 'save',
                                'refused', state || ': ' || why, 1,
                                string_to_array(done[i], ','), produced[i], firsts[i], outbox_)
                        ON CONFLICT (source, "offset") DO NOTHING;
                        source := sources[i];
                        "offset" := offsets[i];
                        code := state;
                        message := why;
                        RETURN NEXT;
                END;
        END LOOP;
        IF refused = n AND n > 0 THEN
                BEGIN
                        INSERT INTO messages (source, "offset", key, host, request_id, payload,
                                headers, produced_at, received_at)
                        VALUES (sources[1], offsets[1], '\x70', 'probe', gen_random_uuid()::text,
                                '{}', '[]', received[1], received[1]);
                        RAISE EXCEPTION 'it is taken' USING ERRCODE = 'AK004';
                EXCEPTION WHEN SQLSTATE 'AK004' THEN
                        refused := 0;
                WHEN data_exception OR integrity_constraint_violation
                        OR program_limit_exceeded THEN
                        NULL;
                END;
        END IF;
        IF refused = n AND n > 0 THEN
                RAISE EXCEPTION 'the table refuses every row (% of %), so none of them is at fault: %: %',
                        refused, n, state, why USING ERRCODE = 'AK002';
        END IF;
        PERFORM move_fence(fence_sources, fence_expected, fence_next);
END $$;

-- What a message is told that names a row of `rejected` in its header `ackd-replay`. The first one
-- that asks stands for the row from then on; asked again, it gets the same answer, so a reply that
-- was lost is asked for again. The header alone proves nothing: the row has to be of the same
-- cluster, group and topic, and to have the same value (@hashes: its SHA-256). Verdicts: ours (what
-- is in done is done), later and unknown (ours, but for its restart, see restart_for()), taken (by
-- another message), dropped, stray (no such row). Rows are locked in one order: two daemons can't
-- deadlock.
CREATE OR REPLACE FUNCTION take_replays(sources integer[], offsets bigint[],
        by_sources integer[], by_offsets bigint[], hashes text[])
RETURNS TABLE (item integer, verdict text, done text, first_us bigint, produced_us bigint,
        received_us bigint, detail text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        r rejected;
        name text; -- of the message that was rejected
        restart record;
BEGIN
        FOR item IN SELECT s FROM generate_subscripts(sources, 1) s
                    ORDER BY sources[s], offsets[s], s LOOP
                verdict := 'stray';
                done := NULL;
                first_us := NULL;
                produced_us := NULL;
                received_us := NULL;
                r := NULL;
                SELECT format('%s/%s/%s', p.topic, p.partition, offsets[item]) INTO name
                FROM partitions p JOIN partitions mine ON mine.id = by_sources[item]
                WHERE p.id = sources[item] AND p.cluster_id = mine.cluster_id
                        AND p.group_id = mine.group_id AND p.topic = mine.topic;
                IF name IS NOT NULL THEN
                        SELECT x.* INTO r FROM rejected x
                        WHERE x.source = sources[item] AND x."offset" = offsets[item]
                                AND (x.source <> by_sources[item] OR x."offset" <> by_offsets[item])
                        FOR UPDATE;
                END IF;
                IF r.source IS NULL THEN
                        detail := format('the table rejected has no row %s/%s of this cluster, group '
                                'and topic', sources[item], offsets[item]);
                ELSIF encode(sha256(r.value), 'hex') IS DISTINCT FROM hashes[item] THEN
                        detail := format('the value of %s was another one', name);
                ELSIF r.dropped_at IS NOT NULL THEN
                        verdict := 'dropped';
                        detail := format('%s was dropped by %s at %s', name,
                                coalesce(r.dropped_by, 'somebody'), utc_text(r.dropped_at));
                ELSIF (r.replay_source, r.replay_offset)
                      IS DISTINCT FROM (by_sources[item], by_offsets[item])
                      AND r.replay_source IS NOT NULL THEN
                        verdict := 'taken';
                        SELECT format('%s is replayed by %s/%s/%s', name, p.topic, p.partition,
                                r.replay_offset) INTO detail
                        FROM partitions p WHERE p.id = r.replay_source;
                ELSE
                        verdict := 'ours';
                        detail := name;
                        IF r.replay_source IS NULL THEN
                                r.replay_received_at := clock_timestamp();
                                UPDATE rejected x SET replay_source = by_sources[item],
                                        replay_offset = by_offsets[item],
                                        replay_received_at = r.replay_received_at,
                                        replayed_at = coalesce(x.replayed_at, r.replay_received_at)
                                WHERE x.source = sources[item] AND x."offset" = offsets[item];
                        END IF;
                        SELECT f.* INTO restart FROM restart_for(r.source, r."offset") f;
                        IF 'restart-host' = ANY(r.handlers_done) THEN
                                NULL;
                        ELSIF restart.verdict = 'done' THEN
                                r.handlers_done := r.handlers_done || 'restart-host'::text;
                        ELSIF restart.verdict IS NOT NULL THEN
                                verdict := restart.verdict;
                                detail := format('%s: %s', name, restart.detail);
                        END IF;
                        done := array_to_string(r.handlers_done, ',');
                        -- A row without it was written before there was this column.
                        first_us := (extract(epoch FROM coalesce(r.received_at, r.rejected_at))
                                * 1000000)::bigint;
                        produced_us := (extract(epoch FROM r.produced_at) * 1000000)::bigint;
                        received_us := (extract(epoch FROM coalesce(r.replay_received_at,
                                clock_timestamp())) * 1000000)::bigint;
                END IF;
                RETURN NEXT;
        END LOOP;
END $$;

@ledger@
DO $$ BEGIN PERFORM make_partitions(@months@); END $$;

@roles@

INSERT INTO schema_version (version) VALUES (@version@)
ON CONFLICT (one) DO UPDATE SET version = excluded.version, changed_at = now()
WHERE schema_version.version < excluded.version;

COMMIT;
