-- The ledger of restarts: tables and functions. schema.sql takes it in; docs/ledger.md explains it.
--
-- Locks, always in this order: the row of `fleet` (claims alone, when a limit over several hosts is
-- on), then rows of `hosts` in COLLATE "C" order, each with a fresh clock_timestamp() behind it.
-- What is counted is counted in a later statement of a VOLATILE function under READ COMMITTED: a
-- statement that waited for a lock sees the past.

CREATE TABLE IF NOT EXISTS restarts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source integer NOT NULL,
        "offset" bigint NOT NULL,
        attempt integer NOT NULL,
        host text COLLATE "C" NOT NULL,
        host_group text,
        request_id text,
        requested_at timestamptz,
        received_at timestamptz NOT NULL,
        state text NOT NULL CHECK (state IN
                ('intended', 'acted', 'done', 'failed', 'not_started', 'unknown', 'suppressed')),
        reason text,
        shared_with bigint,
        action text NOT NULL,
        instance uuid NOT NULL,
        instance_name text NOT NULL,
        before text,
        intended_at timestamptz,
        held_until timestamptz,
        started_at timestamptz,
        acted_at timestamptz,
        ended_at timestamptz,
        exit_status integer,
        output text
);

CREATE UNIQUE INDEX IF NOT EXISTS restarts_message ON restarts (source, "offset", attempt);
CREATE INDEX IF NOT EXISTS restarts_request ON restarts (host, request_id)
        WHERE request_id IS NOT NULL AND state = 'done';
CREATE INDEX IF NOT EXISTS restarts_host ON restarts (host, started_at)
        WHERE started_at IS NOT NULL AND shared_with IS NULL;
CREATE INDEX IF NOT EXISTS restarts_started ON restarts (started_at)
        WHERE started_at IS NOT NULL AND shared_with IS NULL;
CREATE INDEX IF NOT EXISTS restarts_held ON restarts (held_until)
        WHERE state IN ('intended', 'acted', 'unknown') AND shared_with IS NULL;
CREATE INDEX IF NOT EXISTS restarts_group ON restarts (host_group, (coalesce(ended_at, held_until)))
        WHERE host_group IS NOT NULL AND shared_with IS NULL;
CREATE INDEX IF NOT EXISTS restarts_shared ON restarts (shared_with) WHERE shared_with IS NOT NULL;

CREATE TABLE IF NOT EXISTS hosts (
        host text COLLATE "C" PRIMARY KEY,
        open_id bigint,
        held_until timestamptz,
        last_id bigint,
        last_start_at timestamptz,
        done_id bigint,
        done_start_at timestamptz,
        covers_until timestamptz
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS holds (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        pattern text NOT NULL,
        why text NOT NULL,
        who text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        until timestamptz,
        lifted_at timestamptz,
        lifted_by text,
        fuse boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS holds_open ON holds (since) WHERE lifted_at IS NULL;
CREATE INDEX IF NOT EXISTS holds_fuse ON holds (since) WHERE fuse;

-- Whoever waits for a hold hears of every change: the daemons listen to this channel, of which a
-- database has one; the payload says whose holds. Sent with the commit.
CREATE OR REPLACE FUNCTION tell_holds() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
BEGIN
        PERFORM pg_notify('ackd_holds', TG_TABLE_SCHEMA);
        RETURN NULL;
END $$;

DO $$
BEGIN
        -- Not OR REPLACE: it would lock out a fuse that blows meanwhile.
        IF NOT EXISTS (SELECT FROM pg_trigger
                       WHERE tgrelid = 'holds'::regclass AND tgname = 'holds_tell') THEN
                CREATE TRIGGER holds_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON holds
                        FOR EACH STATEMENT EXECUTE FUNCTION tell_holds();
        END IF;
END $$;

CREATE TABLE IF NOT EXISTS fleet (one boolean PRIMARY KEY DEFAULT true CHECK (one));
INSERT INTO fleet DEFAULT VALUES ON CONFLICT DO NOTHING;

COMMENT ON TABLE restarts IS 'The ledger: a row is a restart that was allowed (an intent), a request that was suppressed, or a request that shared a restart';
COMMENT ON COLUMN restarts.source IS 'partitions.id: with "offset" the message';
COMMENT ON COLUMN restarts.attempt IS 'numbers the claims of a message that left a row; retry.attempts counts others';
COMMENT ON COLUMN restarts.host IS 'the canonical name';
COMMENT ON COLUMN restarts.host_group IS 'the pattern of handlers.restart-host.groups that matched first';
COMMENT ON COLUMN restarts.requested_at IS 'the smaller of the message''s time and Kafka''s';
COMMENT ON COLUMN restarts.received_at IS 'when ackd received the message first: age and max_wait count from it';
COMMENT ON COLUMN restarts.state IS 'intended (may run now), acted (to be verified), done, failed, not_started, unknown, suppressed';
COMMENT ON COLUMN restarts.reason IS 'suppressed: duplicate, superseded, stale, cooldown, not_selected, not_needed, handled; unknown: no_end when nobody reported an end; otherwise a word of the instance';
COMMENT ON COLUMN restarts.shared_with IS 'the row whose restart this request shared; null: its own. Such rows count in no limit';
COMMENT ON COLUMN restarts.instance IS 'the process, a random UUID';
COMMENT ON COLUMN restarts.before IS 'what the check of verify said before the action (a boot id)';
COMMENT ON COLUMN restarts.intended_at IS 'when it was allowed';
COMMENT ON COLUMN restarts.held_until IS 'until then nobody else may restart the host, unless it ends before';
COMMENT ON COLUMN restarts.started_at IS 'when the action started; until that is reported, the last moment that it may; null: it never did';
COMMENT ON COLUMN restarts.acted_at IS 'when the action ended well and verification began';
COMMENT ON COLUMN restarts.exit_status IS 'of the command, or the HTTP status';
COMMENT ON TABLE hosts IS 'Per canonical host what claims ask first; its row is the host''s lock. Never delete one while the host has an open intent or a cool-down';
COMMENT ON COLUMN hosts.open_id IS 'the open intent (restarts.id); null: none';
COMMENT ON COLUMN hosts.held_until IS 'until when it is held; after that the next claim makes it unknown';
COMMENT ON COLUMN hosts.last_id IS 'the last restart that started or may have';
COMMENT ON COLUMN hosts.last_start_at IS 'its restarts.started_at: the cool-down counts from it';
COMMENT ON COLUMN hosts.done_id IS 'the last restart that is done';
COMMENT ON COLUMN hosts.covers_until IS 'what was requested until then is superseded: the intent of a restart that is done, or its end when the process that started it verified it';
COMMENT ON TABLE holds IS 'Stops put on hosts by a person, or by the fuse on all of them';
COMMENT ON COLUMN holds.pattern IS 'a glob on canonical names: * any run of characters, ? one';
COMMENT ON COLUMN holds.until IS 'it ends by itself then; null: when it is lifted';
COMMENT ON COLUMN holds.fuse IS 'the fuse made it; it counts anew from lifted_at';
COMMENT ON TABLE fleet IS 'One row: the lock under which limits over several hosts are counted';

-- The glob of `allow` and `groups`, on canonical names.
CREATE OR REPLACE FUNCTION glob_matches(pattern text, host text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = @schema@, pg_temp AS $$
        SELECT host COLLATE "C" LIKE translate(replace(replace(replace(lower(pattern COLLATE "C"),
                '!', '!!'), '%', '!%'), '_', '!_'), '*?', '%_') ESCAPE '!';
$$;

-- A time for people.
CREATE OR REPLACE FUNCTION utc_text(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = @schema@, pg_temp AS $$
        SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
$$;

-- "by web1 since 2026-…": who has an intent, for people.
CREATE OR REPLACE FUNCTION holder_text(restart bigint) RETURNS text
LANGUAGE sql VOLATILE SET search_path = @schema@, pg_temp AS $$
        SELECT format('%s by %s since %s, held until %s', r.state, r.instance_name,
                utc_text(r.intended_at), utc_text(r.held_until))
        FROM restarts r WHERE r.id = restart;
$$;

-- What the ledger says of the restart for a rejected message, whose row was written while that still
-- ran, perhaps: done, later (it runs, or may start), unknown (nobody knows how it ended); null: nothing
-- stands against another one. Where nothing was started for the message itself, the one that it was a
-- replay of says so, and so on. Whoever replays what was rejected as unknown has looked at the host.
CREATE OR REPLACE FUNCTION restart_for(source_ integer, offset_ bigint, OUT verdict text,
        OUT detail text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        own restarts;
        why text;
        first_source integer := source_;
        first_offset bigint := offset_;
BEGIN
        LOOP
                SELECT x.* INTO own FROM restarts x
                WHERE x.source = source_ AND x."offset" = offset_
                ORDER BY x.state IN ('done', 'suppressed') DESC, x.attempt DESC LIMIT 1;
                detail := format('its restart (restarts.id %s) %s', own.id, CASE
                        WHEN own.state IN ('intended', 'acted') THEN 'is ' || holder_text(own.id)
                        ELSE format('by %s is %s', own.instance_name, own.state) END);
                IF own.state IN ('done', 'suppressed') THEN
                        verdict := 'done';
                        RETURN;
                ELSIF own.state IN ('intended', 'acted') AND own.held_until > clock_timestamp() THEN
                        verdict := 'later';
                        RETURN;
                END IF;
                SELECT x.reason INTO why FROM rejected x
                WHERE x.source = source_ AND x."offset" = offset_;
                IF why = 'unknown' OR own.state = 'failed' THEN
                        RETURN;
                ELSIF own.state IN ('intended', 'acted', 'unknown') THEN
                        verdict := 'unknown';
                        RETURN;
                END IF;
                SELECT x.source, x."offset" INTO source_, offset_ FROM rejected x
                WHERE x.replay_source = source_ AND x.replay_offset = offset_;
                EXIT WHEN NOT FOUND OR (source_, offset_) = (first_source, first_offset);
        END LOOP;
END $$;

-- Locks the host's row, which it makes when it is missing.
CREATE OR REPLACE FUNCTION lock_host(name text) RETURNS hosts
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        h hosts;
BEGIN
        SELECT x.* INTO h FROM hosts x WHERE x.host = name FOR UPDATE;
        IF NOT FOUND THEN
                INSERT INTO hosts (host) VALUES (name) ON CONFLICT DO NOTHING;
                SELECT x.* INTO h FROM hosts x WHERE x.host = name FOR UPDATE;
        END IF;
        RETURN h;
END $$;

-- The first receipts, for messages that an earlier owner received before: from `messages`, in one
-- pass for all of them, and only when it matters, for those that are older than @matters. A week back
-- at most. Before any lock is taken, since it can take its time. The setting: a table that was not
-- analyzed yet would be read as a whole.
CREATE OR REPLACE FUNCTION first_receipts(sources integer[], offsets bigint[],
        requested timestamptz[], received timestamptz[], redelivered boolean[], matters interval)
RETURNS timestamptz[]
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp SET enable_seqscan = off AS $$
DECLARE
        t timestamptz := clock_timestamp();
        since timestamptz;
        found_ timestamptz[];
BEGIN
        SELECT min(coalesce(requested[s], '-infinity')) INTO since
        FROM generate_subscripts(sources, 1) s
        WHERE redelivered[s] AND coalesce(requested[s], '-infinity') < t - matters;
        IF since IS NULL THEN
                RETURN received;
        END IF;
        since := greatest(since - interval '1 hour', t - interval '7 days');
        SELECT array_agg(least(received[s.i], m.at) ORDER BY s.i) INTO found_
        FROM generate_subscripts(sources, 1) s(i)
        LEFT JOIN (SELECT x.source, x."offset", min(x.received_at) AS at FROM messages x
                WHERE x.received_at BETWEEN since AND t AND x.source = ANY(sources)
                        AND x."offset" = ANY(offsets)
                GROUP BY 1, 2) m
        ON redelivered[s.i] AND m.source = sources[s.i] AND m."offset" = offsets[s.i];
        RETURN found_;
END $$;

-- Step 4: why there is nothing to do, or null.
CREATE OR REPLACE FUNCTION suppression(h hosts, request text, requested timestamptz,
        received timestamptz, max_age interval, OUT reason text, OUT detail text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        other restarts;
BEGIN
        IF request IS NOT NULL THEN
                SELECT r.* INTO other FROM restarts r
                WHERE r.host = h.host AND r.request_id = request AND r.state = 'done' LIMIT 1;
                IF FOUND THEN
                        reason := 'duplicate';
                        detail := format('this request was done at %s by %s',
                                utc_text(other.ended_at), other.instance_name);
                        RETURN;
                END IF;
        END IF;
        IF requested <= h.covers_until THEN
                reason := 'superseded';
                detail := format('requested at %s, and restarted until %s', utc_text(requested),
                        utc_text(h.covers_until));
        ELSIF max_age > interval '0' AND received - requested > max_age THEN
                reason := 'stale';
                detail := format('requested at %s, received first at %s', utc_text(requested),
                        utc_text(received));
        END IF;
END $$;

-- Step 6: what stands against one more start now, or nulls. Under the lock of `fleet`. Makes the hold
-- of a fuse that blows.
CREATE OR REPLACE FUNCTION limit_against(host_ text, t timestamptz, instance_name_ text,
        group_ text, group_limit integer, quiet_time interval, host_limit integer,
        host_period interval, fleet_limit integer, fuse_limit integer, fuse_period interval,
        OUT verdict text, OUT reason text, OUT again interval, OUT detail text, OUT blew boolean)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        n integer;
        last_end timestamptz;
        lifted timestamptz;
BEGIN
        blew := false;
        IF host_limit > 0 THEN
                SELECT count(*) INTO n FROM restarts r
                WHERE r.host = host_ AND r.started_at > t - host_period
                        AND r.shared_with IS NULL AND r.state IN ('done', 'unknown');
                IF n >= host_limit THEN
                        verdict := 'reject';
                        reason := 'host_limit';
                        detail := format('%s restarts of this host in %s', n, host_period);
                        RETURN;
                END IF;
        END IF;
        verdict := 'wait';
        again := interval '1 second';
        IF group_ IS NOT NULL AND group_limit > 0 THEN
                SELECT count(*) INTO n FROM restarts r
                WHERE r.host_group = group_ AND r.held_until > t AND r.shared_with IS NULL
                        AND r.state IN ('intended', 'acted', 'unknown');
                IF n >= group_limit THEN
                        reason := 'group';
                        detail := format('%s of %s of group %s run', n, group_limit, group_);
                        RETURN;
                END IF;
        END IF;
        IF group_ IS NOT NULL AND quiet_time > interval '0' THEN
                -- An intent whose hold ended is over too, whether or not a claim has marked it yet.
                SELECT max(coalesce(r.ended_at, r.held_until)) INTO last_end FROM restarts r
                WHERE r.host_group = group_ AND r.shared_with IS NULL
                        AND r.started_at IS NOT NULL
                        AND coalesce(r.ended_at, r.held_until) > t - quiet_time
                        AND coalesce(r.ended_at, r.held_until) <= t;
                IF last_end IS NOT NULL THEN
                        reason := 'quiet_time';
                        again := last_end + quiet_time - t;
                        detail := format('the last of group %s ended at %s', group_,
                                utc_text(last_end));
                        RETURN;
                END IF;
        END IF;
        IF fleet_limit > 0 THEN
                SELECT count(*) INTO n FROM restarts r
                WHERE r.held_until > t AND r.shared_with IS NULL
                        AND r.state IN ('intended', 'acted', 'unknown');
                IF n >= fleet_limit THEN
                        reason := 'fleet';
                        detail := format('%s of %s run', n, fleet_limit);
                        RETURN;
                END IF;
        END IF;
        IF fuse_limit > 0 THEN
                SELECT max(coalesce(x.lifted_at, x.until)) INTO lifted FROM holds x
                WHERE x.fuse AND coalesce(x.lifted_at, x.until) <= t;
                SELECT count(*) INTO n FROM restarts r
                WHERE r.started_at > t - fuse_period AND r.shared_with IS NULL
                        AND r.intended_at > coalesce(lifted, '-infinity');
                IF n >= fuse_limit THEN
                        reason := 'fuse';
                        again := interval '5 seconds';
                        blew := true;
                        detail := format('%s restarts in %s: a hold on everything until somebody '
                                'lifts it', n, fuse_period);
                        INSERT INTO holds (pattern, why, who, since, fuse)
                        VALUES ('*', format('the fuse: %s restarts in %s', n, fuse_period),
                                format('ackd (%s)', instance_name_), t, true);
                        RETURN;
                END IF;
        END IF;
        verdict := NULL;
END $$;

-- May these messages restart their hosts? Verdicts: start, done, verify, unknown, wait, reject; what
-- they mean and what the parameters are: src/pg/ledger.h. The steps are numbered as in docs/ledger.md.
CREATE OR REPLACE FUNCTION claim(sources integer[], offsets bigint[], attempts integer[],
        names text[], request_ids text[], requested timestamptz[], received timestamptz[],
        redelivered boolean[], originals timestamptz[], befores text[], suppress text[],
        host_groups text[],
        group_limits integer[], quiet_times interval[], instance_ uuid, instance_name_ text,
        action_ text, cooldown interval, max_age interval, max_wait interval,
        start_within interval, hold interval, host_limit integer, host_period interval,
        fleet_limit integer, fuse_limit integer, fuse_period interval)
RETURNS TABLE (item integer, verdict text, why text, row_id bigint, last_attempt integer,
        again_us bigint, first_us bigint, acted_age_us bigint, before_ text, flag boolean,
        detail text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        firsts timestamptz[];
        t timestamptz;
        first timestamptz;
        again interval;
        bounded boolean;
        h hosts;
        own restarts;
        stop holds;
BEGIN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE EXCEPTION 'claim wants READ COMMITTED, not %',
                        current_setting('transaction_isolation') USING ERRCODE = 'AK003';
        END IF;
        IF coalesce(cardinality(names), 0) = 0 OR array_position(names, NULL) IS NOT NULL THEN
                RAISE EXCEPTION 'claim wants a host for each request' USING ERRCODE = 'AK003';
        END IF;
        firsts := first_receipts(sources, offsets, requested, received, redelivered,
                least(nullif(max_age, interval '0'), nullif(max_wait, interval '0')));
        IF fleet_limit > 0 OR fuse_limit > 0 OR cardinality(array_remove(host_groups, NULL)) > 0 THEN
                PERFORM FROM fleet FOR UPDATE;
                IF NOT FOUND THEN
                        RAISE EXCEPTION 'the row of fleet is missing' USING ERRCODE = 'AK003';
                END IF;
        END IF;
        FOR item IN SELECT s FROM generate_subscripts(names, 1) s
                    ORDER BY names[s] COLLATE "C", s LOOP
                h := lock_host(names[item]);
                t := clock_timestamp();
                SELECT r.* INTO own FROM restarts r
                WHERE r.source = sources[item] AND r."offset" = offsets[item]
                ORDER BY r.state IN ('done', 'suppressed') DESC, r.attempt DESC LIMIT 1;
                first := least(own.received_at, firsts[item], t);
                first_us := (extract(epoch FROM first) * 1000000)::bigint;
                last_attempt := own.attempt;
                row_id := own.id;
                before_ := own.before;
                acted_age_us := (extract(epoch FROM t - own.acted_at) * 1000000)::bigint;
                why := NULL;
                detail := NULL;
                again := NULL;
                flag := false;
                bounded := true; -- by max_wait
                verdict := 'wait';
                <<decide>> BEGIN
                        -- 1. What this message's own row says.
                        IF own.state IN ('done', 'suppressed') THEN
                                verdict := 'done';
                                IF own.state = 'suppressed' THEN
                                        why := own.reason;
                                        -- The reply was lost: it is this claim all the same.
                                        flag := own.instance = instance_
                                                AND own.attempt = attempts[item];
                                END IF;
                                detail := format('%s at %s by %s', own.state,
                                        utc_text(own.ended_at), own.instance_name);
                                EXIT decide;
                        ELSIF own.state = 'acted' THEN
                                verdict := 'verify';
                                detail := holder_text(own.id);
                                EXIT decide;
                        ELSIF own.state = 'intended' AND own.instance = instance_
                              AND own.attempt = attempts[item] AND h.open_id = own.id
                              AND h.held_until > t THEN
                                -- The reply was lost, nothing was started: all its time begins anew.
                                UPDATE restarts r SET intended_at = t, started_at = t + start_within,
                                        held_until = t + start_within + hold, before = befores[item]
                                WHERE r.id = own.id;
                                UPDATE hosts x SET held_until = t + start_within + hold,
                                        last_start_at = t + start_within
                                WHERE x.host = h.host;
                                verdict := 'start';
                                flag := true;
                                EXIT decide;
                        END IF;
                        -- 2. The host's open intent.
                        IF h.open_id IS NOT NULL AND h.held_until > t THEN
                                why := 'running';
                                again := least(h.held_until, t + interval '2 seconds') - t;
                                bounded := h.open_id IS DISTINCT FROM own.id;
                                detail := holder_text(h.open_id);
                                EXIT decide;
                        ELSIF h.open_id IS NOT NULL THEN
                                UPDATE restarts r SET state = 'unknown', reason = 'no_end'
                                WHERE r.id = h.open_id AND r.state IN ('intended', 'acted');
                                UPDATE hosts x SET open_id = NULL, held_until = NULL
                                WHERE x.host = h.host;
                                IF h.open_id = own.id THEN
                                        verdict := 'unknown';
                                        detail := holder_text(own.id);
                                        EXIT decide;
                                END IF;
                        END IF;
                        -- 3. Its own restart of which nobody knows; a higher attempt says that
                        -- on_unknown decided. Any other attempt has to be new.
                        IF attempts[item] <= own.attempt THEN
                                IF own.state = 'unknown' THEN
                                        verdict := 'unknown';
                                        detail := holder_text(own.id);
                                        -- Another start since: that the host is another one now
                                        -- proves nothing of this one.
                                        IF h.last_id IS DISTINCT FROM
                                           coalesce(own.shared_with, own.id) THEN
                                                before_ := NULL;
                                        END IF;
                                ELSE
                                        why := 'attempt';
                                        again := interval '0';
                                        bounded := false;
                                        detail := format('attempt %s is %s', own.attempt, own.state);
                                END IF;
                                EXIT decide;
                        END IF;
                        row_id := NULL;
                        -- 4. Nothing is to be done.
                        IF suppress[item] IS NOT NULL THEN
                                why := suppress[item];
                        ELSE
                                SELECT s.reason, s.detail INTO why, detail
                                FROM suppression(h, request_ids[item], requested[item],
                                        least(first, originals[item]), max_age) s;
                        END IF;
                        IF why IS NOT NULL THEN
                                verdict := 'done';
                                EXIT decide;
                        END IF;
                        -- 5. A hold, the cool-down.
                        SELECT x.* INTO stop FROM holds x
                        WHERE x.lifted_at IS NULL AND (x.until IS NULL OR x.until > t)
                                AND glob_matches(x.pattern, h.host)
                        ORDER BY x.fuse, x.since LIMIT 1;
                        IF FOUND THEN
                                why := CASE WHEN stop.fuse THEN 'fuse' ELSE 'hold' END;
                                again := least(stop.until, t + interval '5 seconds') - t;
                                detail := format('%s, by %s since %s: %s', stop.pattern, stop.who,
                                        utc_text(stop.since), stop.why);
                                EXIT decide;
                        END IF;
                        IF h.last_start_at > t - cooldown THEN
                                why := 'cooldown';
                                detail := format('started at %s', utc_text(h.last_start_at));
                                IF h.last_id = h.done_id THEN
                                        verdict := 'done';
                                ELSE
                                        again := least(h.last_start_at, t + start_within)
                                                + cooldown - t;
                                END IF;
                                EXIT decide;
                        END IF;
                        -- 6. Limits.
                        SELECT l.verdict, l.reason, l.again, l.detail, l.blew
                        INTO verdict, why, again, detail, flag
                        FROM limit_against(h.host, t, instance_name_, host_groups[item],
                                group_limits[item], quiet_times[item], host_limit, host_period,
                                fleet_limit, fuse_limit, fuse_period) l;
                        IF verdict IS NOT NULL THEN
                                EXIT decide;
                        END IF;
                        -- 7. The intent.
                        INSERT INTO restarts (source, "offset", attempt, host, host_group,
                                request_id, requested_at, received_at, state, action, instance,
                                instance_name, before, intended_at, started_at, held_until)
                        VALUES (sources[item], offsets[item], attempts[item], h.host, host_groups[item],
                                request_ids[item], requested[item], first, 'intended', action_,
                                instance_, instance_name_, befores[item], t, t + start_within,
                                t + start_within + hold)
                        RETURNING restarts.id INTO row_id;
                        UPDATE hosts x SET open_id = row_id, held_until = t + start_within + hold,
                                last_id = row_id, last_start_at = t + start_within
                        WHERE x.host = h.host;
                        verdict := 'start';
                        last_attempt := attempts[item];
                END decide;
                IF verdict = 'done' AND row_id IS NULL THEN
                        INSERT INTO restarts (source, "offset", attempt, host, host_group,
                                request_id, requested_at, received_at, state, reason, action,
                                instance, instance_name, ended_at)
                        VALUES (sources[item], offsets[item], attempts[item], h.host, host_groups[item],
                                request_ids[item], requested[item], first, 'suppressed', why,
                                action_, instance_, instance_name_, t)
                        RETURNING restarts.id INTO row_id;
                        last_attempt := attempts[item];
                        flag := true;
                ELSIF verdict = 'wait' AND bounded AND max_wait > interval '0' THEN
                        IF first + max_wait <= t THEN
                                verdict := 'reject';
                                detail := format('since %s, at last for: %s%s', utc_text(first),
                                        why, coalesce(' (' || detail || ')', ''));
                                why := 'waited_too_long';
                        ELSE
                                again := least(again, first + max_wait - t);
                        END IF;
                END IF;
                again_us := (extract(epoch FROM again) * 1000000)::bigint;
                RETURN NEXT;
        END LOOP;
END $$;

-- The state of one row, and what follows for its host, which is locked. @started and @ended: null
-- means not reported, and now. A row that shares stands for the one whose restart it shared.
CREATE OR REPLACE FUNCTION settle(h hosts, restart bigint, state_ text, verified boolean,
        started timestamptz, ended timestamptz, status integer, why text, output_ text,
        OUT did boolean, OUT state_now text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        r restarts;
        untold boolean; -- nobody reported an end yet
        may boolean;
        -- Whoever started it looked until it passed. A successor looks when it comes to it: the host
        -- may have been back for long, and then broken again.
        watched boolean := coalesce(verified, false) AND started IS NOT NULL;
BEGIN
        SELECT x.* INTO r FROM restarts x WHERE x.id = restart;
        untold := r.state IN ('intended', 'acted') OR (r.state = 'unknown' AND r.ended_at IS NULL);
        state_now := r.state;
        did := r.state = state_ AND NOT (state_ = 'unknown' AND untold);
        may := CASE state_
                WHEN 'acted' THEN untold
                WHEN 'unknown' THEN untold
                WHEN 'not_started' THEN untold AND r.acted_at IS NULL
                ELSE r.state IN ('intended', 'acted', 'unknown') -- done, failed
        END;
        -- What verify sees after another start may be that one's work.
        may := may AND NOT (state_ = 'done' AND coalesce(verified, false) AND r.state = 'unknown'
                AND h.last_id IS DISTINCT FROM restart);
        IF did OR NOT may THEN
                RETURN;
        END IF;
        ended := least(greatest(ended, r.intended_at), clock_timestamp());
        started := CASE WHEN state_ = 'not_started' THEN NULL
                ELSE least(greatest(coalesce(started, r.started_at), r.intended_at), ended) END;
        UPDATE restarts x SET state = state_, reason = why, started_at = started,
                acted_at = CASE WHEN state_ = 'acted' THEN ended ELSE x.acted_at END,
                ended_at = CASE WHEN state_ = 'acted' THEN NULL ELSE ended END,
                exit_status = coalesce(status, x.exit_status), output = coalesce(output_, x.output)
        WHERE x.id = restart;
        did := true;
        state_now := state_;
        IF state_ <> 'acted' AND h.open_id = restart THEN
                UPDATE hosts x SET open_id = NULL, held_until = NULL WHERE x.host = h.host;
        END IF;
        IF state_ = 'not_started' AND h.last_id = restart THEN
                -- The cool-down is that of the start before.
                UPDATE hosts x SET (last_id, last_start_at) = (SELECT y.id, y.started_at
                        FROM restarts y WHERE y.host = h.host AND y.started_at IS NOT NULL
                        AND y.shared_with IS NULL ORDER BY y.started_at DESC LIMIT 1)
                WHERE x.host = h.host;
        ELSIF h.last_id = restart THEN
                UPDATE hosts x SET last_start_at = started WHERE x.host = h.host;
        END IF;
        IF state_ = 'done' THEN
                UPDATE hosts x SET covers_until = greatest(x.covers_until,
                                CASE WHEN watched THEN ended ELSE r.intended_at END),
                        done_id = CASE WHEN x.done_start_at > started THEN x.done_id
                                ELSE restart END,
                        done_start_at = greatest(x.done_start_at, started)
                WHERE x.host = h.host;
        END IF;
        -- All share its outcome, also one that comes to light later.
        UPDATE restarts x SET state = state_, reason = why, ended_at = ended
        WHERE x.shared_with = restart AND x.state = 'unknown';
END $$;

-- How restarts ended: done, failed, not_started, unknown. An end that came before stands, and the
-- same one again says the same: did. The shared_… arrays are messages that shared the restart of
-- item shared_items. The times are those of the caller's clock, which says @clock_us when it sends:
-- it was that time when the statement came, not when the locks are ours.
CREATE OR REPLACE FUNCTION finish(ids bigint[], states text[], verified boolean[],
        started_us bigint[], ended_us bigint[], statuses integer[], whys text[], outputs text[],
        shared_items integer[], shared_sources integer[], shared_offsets bigint[],
        shared_request_ids text[], shared_requested timestamptz[], shared_received timestamptz[],
        clock_us bigint)
RETURNS TABLE (item integer, did boolean, state_now text)
LANGUAGE plpgsql VOLATILE SET search_path = @schema@, pg_temp AS $$
DECLARE
        t timestamptz := statement_timestamp();
        h hosts;
        main bigint;
        name text;
BEGIN
        IF EXISTS (SELECT FROM unnest(states) s
                   WHERE s NOT IN ('acted', 'done', 'failed', 'not_started', 'unknown')) THEN
                RAISE EXCEPTION 'a restart cannot end so: %', states USING ERRCODE = 'AK003';
        END IF;
        FOR item, main, name IN SELECT s, coalesce(r.shared_with, r.id), r.host
                    FROM generate_subscripts(ids, 1) s LEFT JOIN restarts r ON r.id = ids[s]
                    ORDER BY r.host COLLATE "C", s LOOP
                did := false;
                state_now := NULL;
                IF main IS NULL THEN
                        RETURN NEXT;
                        CONTINUE;
                END IF;
                h := lock_host(name);
                SELECT s.did, s.state_now INTO did, state_now
                FROM settle(h, main, states[item], verified[item],
                        t - (clock_us - started_us[item]) * interval '1 microsecond',
                        coalesce(t - (clock_us - ended_us[item]) * interval '1 microsecond', t),
                        statuses[item], whys[item], outputs[item]) s;
                IF did AND states[item] <> 'acted' THEN
                        INSERT INTO restarts (source, "offset", attempt, host, host_group,
                                request_id, requested_at, received_at, state, reason, shared_with,
                                action, instance, instance_name, before, intended_at, held_until,
                                acted_at, ended_at, exit_status)
                        SELECT shared_sources[s], shared_offsets[s],
                                coalesce((SELECT max(o.attempt) FROM restarts o
                                        WHERE o.source = shared_sources[s]
                                        AND o."offset" = shared_offsets[s]), 0) + 1,
                                r.host, r.host_group, shared_request_ids[s], shared_requested[s],
                                coalesce(shared_received[s], t), r.state, r.reason, r.id, r.action,
                                r.instance, r.instance_name, r.before, r.intended_at, r.held_until,
                                r.acted_at, r.ended_at, r.exit_status
                        FROM generate_subscripts(shared_items, 1) s
                        JOIN restarts r ON r.id = main
                        WHERE shared_items[s] = item AND NOT EXISTS (SELECT FROM restarts o
                                WHERE o.source = shared_sources[s]
                                AND o."offset" = shared_offsets[s]
                                AND (o.shared_with = main OR o.id = main
                                        OR o.state IN ('done', 'suppressed')
                                        -- The newest row counts: what failed, or never began,
                                        -- must not hide a restart of its own without an end.
                                        OR (r.state IN ('failed', 'not_started') AND o.state IN
                                                ('intended', 'acted', 'unknown'))));
                END IF;
                RETURN NEXT;
        END LOOP;
END $$;

-- The actions ended well, their verification is still to come.
CREATE OR REPLACE FUNCTION acted(ids bigint[], started_us bigint[], ended_us bigint[],
        statuses integer[], outputs text[], clock_us bigint)
RETURNS TABLE (item integer, did boolean, state_now text)
LANGUAGE sql VOLATILE SET search_path = @schema@, pg_temp AS $$
        SELECT * FROM finish(ids, array_fill('acted'::text, ARRAY[cardinality(ids)]), '{}',
                started_us, ended_us, statuses, '{}', outputs, '{}', '{}', '{}', '{}', '{}', '{}',
                clock_us);
$$;
