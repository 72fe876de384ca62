#include "pg/rejected.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pg/literal.h"

int rejected_append_head(Buffer *sql, const char *schema) {
        return buffer_printf(sql,
                             "INSERT INTO %s.rejected (source, \"offset\", key, value, headers, "
                             "host, handler, reason, detail, attempts, handlers_done, "
                             "produced_at, received_at, outbox) VALUES ",
                             schema);
}

int rejected_append_tail(Buffer *sql) {
        return buffer_append_string(sql, " ON CONFLICT (source, \"offset\") DO NOTHING; ");
}

/* A handler that was never asked for is not done; save is, when the message has a row and nothing
 * is left to do for it. */
static bool is_done(const Message *message, HandlerId id) {
        const HandlerTask *task = &message->handlers[id];
        if (replay_is_ours(message) && (message->replay->done & 1u << id) != 0) {
                return true; /* so the row says that it stands for */
        }
        if (id == HANDLER_SAVE && message->record != MESSAGE_ROW) {
                return false; /* the fence moved over it, and no row was written */
        }
        if (task->state == HANDLER_ENDED) {
                return outcome_is_success(task->outcome);
        }
        return task->state == HANDLER_OFF && id == HANDLER_SAVE;
}

int rejected_append_done(Buffer *sql, const Message *message) {
        int r = buffer_append_char(sql, '\'');
        bool first = true;
        for (int id = 0; id < HANDLER_COUNT && r == 0; id++) {
                if (is_done(message, (HandlerId)id)) {
                        r = buffer_printf(sql, "%s%s", first ? "" : ",",
                                          handler_name((HandlerId)id));
                        first = false;
                }
        }
        return r != 0 ? r : buffer_append_char(sql, '\'');
}

int64_t rejected_received_us(const Message *message) {
        return replay_is_ours(message) ? message->replay->first_us : message->received_wall_us;
}

/* host, handler, reason, detail, attempts, handlers_done, produced_at, received_at, outbox; each
 * with its type, since the rows of VALUES decide it. */
static int append_rest(Buffer *sql, const Message *message, bool pending) {
        bool of_handler = message->fault_handler < HANDLER_COUNT;
        const HandlerTask *task = of_handler ? &message->handlers[message->fault_handler] : NULL;
        int r = literal_append_string(sql, message->host);
        r = r != 0 ? r : buffer_append_string(sql, "::text, ");
        r = r != 0 ? r
                   : literal_append_string(sql, of_handler ? handler_name(message->fault_handler)
                                                           : NULL);
        r = r != 0 ? r : buffer_append_string(sql, "::text, ");
        r = r != 0 ? r
                   : literal_append_string(sql, message->fault != NULL ? message->fault->reason
                                                                       : "internal");
        r = r != 0 ? r : buffer_append_string(sql, "::text, ");
        const char *detail = message->fault != NULL ? message->fault->detail : "";
        r = r != 0 ? r : literal_append_string(sql, detail[0] != '\0' ? detail : NULL);
        r = r != 0 ? r
                   : buffer_printf(sql, "::text, %d, string_to_array(",
                                   task != NULL ? task->attempts : 0);
        r = r != 0 ? r : rejected_append_done(sql, message);
        r = r != 0 ? r : buffer_append_string(sql, ", ','), ");
        r = r != 0 ? r : literal_append_time(sql, message->produced_us);
        r = r != 0 ? r : buffer_append_string(sql, "::timestamptz, ");
        r = r != 0 ? r : literal_append_time(sql, rejected_received_us(message));
        return r != 0 ? r
                      : buffer_append_string(sql, pending ? "::timestamptz, 'pending'"
                                                          : "::timestamptz, 'none'");
}

int rejected_append_row(Buffer *sql, const char *schema, const Message *message, bool pending,
                        bool first) {
        const MessageBody *body = message->body;
        int r = buffer_printf(sql, "%s(%" PRId32 ", %" PRId64 ", ", first ? "" : ", ",
                              message->partition->source, message->offset);
        r = r != 0 ? r : literal_append_bytes(sql, body->key, body->key_size);
        r = r != 0 ? r : buffer_append_string(sql, "::bytea, ");
        r = r != 0 ? r : literal_append_bytes(sql, body->value, body->value_size);
        r = r != 0 ? r : buffer_append_string(sql, "::bytea, ");
        if (r == 0 && body->headers == NULL) {
                r = buffer_append_string(sql, "NULL::json, ");
        } else if (r == 0) {
                r = buffer_printf(sql, "%s.json_or_null(", schema);
                r = r != 0 ? r : literal_append_bytes(sql, body->headers, body->headers_size);
                r = r != 0 ? r : buffer_append_string(sql, "), ");
        }
        r = r != 0 ? r : append_rest(sql, message, pending);
        return r != 0 ? r : buffer_append_char(sql, ')');
}

/* The setting is this transaction's alone: a table that was not analyzed yet would be read as a
 * whole. */
int rejected_append_saved_head(Buffer *sql, const char *schema) {
        return buffer_printf(
                sql,
                "SELECT set_config('enable_seqscan', 'off', true); INSERT INTO "
                "%s.rejected (source, \"offset\", key, value, headers, "
                "host, handler, reason, detail, attempts, handlers_done, "
                "produced_at, received_at, outbox) SELECT v.source, v.\"offset\", "
                "coalesce(m.key, o.key), coalesce(convert_to(m.payload::text, 'UTF8'), o.value), "
                "coalesce(m.headers, o.headers), v.host, v.handler, "
                "v.reason, v.detail, v.attempts, v.done, v.produced_at, v.first_at, "
                "v.outbox FROM (VALUES ",
                schema);
}

int rejected_append_saved_row(Buffer *sql, const Message *message, bool pending, bool first) {
        int r = buffer_printf(sql, "%s(%" PRId32 ", %" PRId64 "::bigint, ", first ? "" : ", ",
                              message->partition->source, message->offset);
        r = r != 0 ? r : literal_append_time(sql, message->received_wall_us);
        r = r != 0 ? r : buffer_append_string(sql, "::timestamptz, ");
        if (r == 0 && replay_is_saved(message)) {
                r = buffer_printf(sql, "%" PRId32 ", %" PRId64 "::bigint, ",
                                  message->replay->of.source, message->replay->of.offset);
        } else if (r == 0) {
                r = buffer_append_string(sql, "NULL::integer, NULL::bigint, ");
        }
        r = r != 0 ? r : append_rest(sql, message, pending);
        return r != 0 ? r : buffer_append_char(sql, ')');
}

int rejected_append_saved_tail(Buffer *sql, const char *schema, int64_t from_us, int64_t to_us) {
        int r = buffer_printf(
                sql,
                ") v(source, \"offset\", received_at, of_source, of_offset, host, handler, reason, "
                "detail, attempts, done, produced_at, first_at, outbox) LEFT JOIN %s.rejected o ON "
                "o.source = v.of_source AND o.\"offset\" = v.of_offset LEFT JOIN %s.messages m ON "
                "m.source = v.source AND m.\"offset\" = v.\"offset\" AND "
                "m.received_at = v.received_at AND m.received_at BETWEEN ",
                schema, schema);
        r = r != 0 ? r : literal_append_time(sql, from_us);
        r = r != 0 ? r : buffer_append_string(sql, " AND ");
        r = r != 0 ? r : literal_append_time(sql, to_us);
        return r != 0 ? r : rejected_append_tail(sql);
}
