-- The story of one host or one message, as one JSON document: src/pg/story.h says what is in it.
--
-- $1 the host, or null; $2 the sources of the message, and $3 its offset, or nulls; $4 the rows of the
-- ledger; $5 the rows of `messages` that were found, as JSON; $6 the cool-down in µs; $7 how many rows
-- of a table are told; $8 how many the ledger has.

WITH r AS MATERIALIZED (
        SELECT x.* FROM restarts x WHERE x.id = ANY ($4::bigint[])
),
-- Without key, value and headers, which can be large.
j AS MATERIALIZED (
        SELECT x.source, x."offset", x.host, x.handler, x.reason, x.detail, x.attempts,
                x.handlers_done, x.produced_at, x.received_at, x.rejected_at, x.outbox,
                x.outbox_error, x.dead_lettered_at, x.replayed_at, x.replayed_by, x.replayed_why,
                x.replay_source, x.replay_offset, x.dropped_at, x.dropped_by, x.dropped_why,
                count(*) OVER () AS n
        FROM rejected x
        WHERE x.host = $1 OR x.source = ANY ($2::integer[]) AND x."offset" = $3::bigint
        ORDER BY x.rejected_at DESC LIMIT $7::bigint
),
s AS (
        SELECT * FROM json_to_recordset($5::json) AS s(source integer, "offset" bigint, host text,
                request_id text, produced_at timestamptz, received_at timestamptz)
),
-- What the three know of each message.
m AS (
        SELECT x.source, x."offset", max(x.host) AS host, max(x.request_id) AS request_id,
                min(x.received_at) AS received_at, min(x.produced_at) AS produced_at,
                max(x.requested_at) AS requested_at, bool_or(x.saved) AS saved
        FROM (
                SELECT source, "offset", host, request_id, received_at,
                        NULL::timestamptz AS produced_at, requested_at, false AS saved FROM r
                UNION ALL
                SELECT source, "offset", host, NULL, received_at, produced_at, NULL,
                        'save' = ANY (handlers_done) FROM j
                UNION ALL
                SELECT source, "offset", host, request_id, received_at, produced_at, NULL, true FROM s
        ) x GROUP BY 1, 2
),
-- Those of them that are a replay, and of what.
o AS MATERIALIZED (
        SELECT m.source, m."offset", jsonb_build_object('topic', p.topic, 'partition', p.partition,
                'offset', x."offset") AS original
        FROM m JOIN rejected x ON x.replay_source = m.source AND x.replay_offset = m."offset"
        JOIN partitions p ON p.id = x.source
),
names AS (
        SELECT host FROM m WHERE host IS NOT NULL UNION SELECT $1 WHERE $1 IS NOT NULL
),
-- In force, or since the first of these messages was received.
h AS MATERIALIZED (
        SELECT x.*, x.lifted_at IS NULL AND (x.until IS NULL OR x.until > clock_timestamp()) AS in_force
        FROM holds x
        WHERE EXISTS (SELECT FROM names WHERE glob_matches(x.pattern, names.host))
                AND coalesce(x.lifted_at, x.until, 'infinity')
                        >= coalesce((SELECT min(received_at) FROM m), clock_timestamp())
        ORDER BY x.since DESC LIMIT $7::bigint
),
events(t, rank, source, "offset", e) AS (
        SELECT x.received_at, 0, x.source, x."offset", jsonb_build_object(
                'what', 'received', 'at', utc_text(x.received_at), 'host', x.host,
                'id', x.request_id, 'requested_at', utc_text(x.requested_at),
                'produced_at', utc_text(x.produced_at), 'row', x.saved,
                'saved', x.saved OR x."offset" < p.next_offset,
                'replay_of', (SELECT o.original FROM o
                        WHERE o.source = x.source AND o."offset" = x."offset" LIMIT 1))
        FROM m x LEFT JOIN partitions p ON p.id = x.source
        WHERE x.received_at IS NOT NULL
        UNION ALL
        SELECT coalesce(x.intended_at, x.ended_at, x.received_at), 1, x.source, x."offset",
                jsonb_build_object(
                'what', 'restart', 'at', utc_text(coalesce(x.intended_at, x.ended_at, x.received_at)),
                'host', x.host, 'restart', x.id, 'attempt', x.attempt, 'state', x.state,
                'reason', x.reason, 'action', x.action, 'instance', x.instance_name,
                'intended_at', utc_text(x.intended_at), 'held_until', utc_text(x.held_until),
                'held', x.state IN ('intended', 'acted') AND x.held_until > clock_timestamp(),
                'started_at', utc_text(x.started_at), 'acted_at', utc_text(x.acted_at),
                'ended_at', utc_text(x.ended_at),
                'took_s', extract(epoch FROM x.ended_at - x.started_at)::float8,
                'exit_status', x.exit_status, 'output', x.output, 'before', x.before,
                'shared_with', (
                        SELECT jsonb_build_object('restart', o.id, 'topic', q.topic,
                                'partition', q.partition, 'offset', o."offset")
                        FROM restarts o LEFT JOIN partitions q ON q.id = o.source
                        WHERE o.id = x.shared_with),
                'shared_by', (SELECT count(*) FROM restarts o WHERE o.shared_with = x.id))
        FROM r x
        UNION ALL
        SELECT x.rejected_at, 2, x.source, x."offset", jsonb_build_object(
                'what', 'rejected', 'at', utc_text(x.rejected_at), 'host', x.host,
                'handler', x.handler, 'reason', x.reason, 'detail', x.detail,
                'attempts', x.attempts, 'handlers_done', to_jsonb(x.handlers_done),
                'outbox', x.outbox, 'outbox_error', x.outbox_error,
                'open', x.replayed_at IS NULL AND x.dropped_at IS NULL)
        FROM j x
        UNION ALL
        SELECT x.dead_lettered_at, 3, x.source, x."offset", jsonb_build_object(
                'what', 'dead_lettered', 'at', utc_text(x.dead_lettered_at))
        FROM j x WHERE x.dead_lettered_at IS NOT NULL
        UNION ALL
        SELECT x.replayed_at, 4, x.source, x."offset", jsonb_build_object(
                'what', 'replayed', 'at', utc_text(x.replayed_at), 'who', x.replayed_by,
                'why', x.replayed_why, 'as', (
                        SELECT jsonb_build_object('topic', q.topic, 'partition', q.partition,
                                'offset', x.replay_offset)
                        FROM partitions q WHERE q.id = x.replay_source))
        FROM j x WHERE x.replayed_at IS NOT NULL
        UNION ALL
        SELECT x.dropped_at, 5, x.source, x."offset", jsonb_build_object(
                'what', 'dropped', 'at', utc_text(x.dropped_at), 'who', x.dropped_by,
                'why', x.dropped_why)
        FROM j x WHERE x.dropped_at IS NOT NULL
        UNION ALL
        SELECT x.since, 6, NULL, NULL, jsonb_build_object(
                'what', 'held', 'at', utc_text(x.since), 'pattern', x.pattern, 'who', x.who,
                'why', x.why, 'fuse', x.fuse, 'until', utc_text(x.until))
        FROM h x
        UNION ALL
        SELECT coalesce(x.lifted_at, x.until), 7, NULL, NULL, jsonb_build_object(
                'what', 'lifted', 'at', utc_text(coalesce(x.lifted_at, x.until)),
                'pattern', x.pattern, 'who', x.lifted_by)
        FROM h x WHERE NOT x.in_force
),
placed(t, rank, e) AS (
        SELECT x.t, x.rank, CASE WHEN x.source IS NULL THEN x.e ELSE x.e || jsonb_build_object(
                'source', x.source, 'topic', p.topic, 'partition', p.partition,
                'offset', x."offset", 'group', p.group_id,
                'retired_at', utc_text(p.retired_at))
                -- An operator moved the partition behind it, or perhaps did: when the daemon has
                -- done that, the table does not say any more where to.
                || CASE WHEN x.t < p.decided_at AND x."offset" < coalesce(p.decided_from, x."offset" + 1)
                THEN jsonb_build_object('decided_at', utc_text(p.decided_at),
                        'decided_by', p.decided_by, 'decided_why', p.decided_why,
                        'decided_from', p.decided_from) ELSE '{}' END END
        FROM events x LEFT JOIN partitions p ON p.id = x.source
)
SELECT json_build_object(
        'now', utc_text(clock_timestamp()),
        'read_only', current_setting('transaction_read_only') = 'on',
        'events', coalesce((SELECT json_agg(e ORDER BY t, rank) FROM placed), '[]'),
        'rows', json_build_object(
                'restarts', $8::bigint,
                'rejected', coalesce((SELECT max(n) FROM j), 0)),
        'hosts', coalesce((
                SELECT json_agg(json_build_object(
                        'host', x.host, 'last_start_at', utc_text(x.last_start_at),
                        'done_start_at', utc_text(x.done_start_at),
                        'covers_until', utc_text(x.covers_until),
                        'last_is_done', x.last_id = x.done_id,
                        'cooldown_until', CASE
                                WHEN x.last_start_at + $6::bigint * interval '1 us' > clock_timestamp()
                                THEN utc_text(x.last_start_at + $6::bigint * interval '1 us') END,
                        'open', (
                                SELECT json_build_object('restart', o.id, 'state', o.state,
                                        'instance', o.instance_name,
                                        'intended_at', utc_text(o.intended_at),
                                        'held_until', utc_text(x.held_until),
                                        'held', x.held_until > clock_timestamp(),
                                        'topic', p.topic, 'partition', p.partition,
                                        'offset', o."offset")
                                FROM restarts o LEFT JOIN partitions p ON p.id = o.source
                                WHERE o.id = x.open_id))
                        ORDER BY x.host)
                FROM hosts x WHERE x.host IN (SELECT host FROM names)), '[]'),
        'holds', coalesce((
                SELECT json_agg(json_build_object('pattern', x.pattern, 'who', x.who, 'why', x.why,
                        'since', utc_text(x.since), 'until', utc_text(x.until), 'fuse', x.fuse)
                        ORDER BY x.since)
                FROM h x WHERE x.in_force), '[]'));
