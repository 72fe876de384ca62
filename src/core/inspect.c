#include "core/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "core/state.h"

const char *run_phase_name(RunPhase phase) {
        switch (phase) {
        case RUN_CHECKING:
                return "checking";
        case RUN_CLAIMING:
                return "claiming";
        case RUN_ACTING:
                return "acting";
        case RUN_VERIFYING:
                return "verifying";
        case RUN_ENDING:
                return "ending";
        }
        return "?";
}

const char *handler_state_name(HandlerState state) {
        switch (state) {
        case HANDLER_OFF:
                return "done";
        case HANDLER_QUEUED:
                return "queued";
        case HANDLER_RUNNING:
                return "running";
        case HANDLER_WAITING:
                return "waiting";
        case HANDLER_ENDED:
                return "ended";
        case HANDLER_ASKING:
                return "asking";
        case HANDLER_UNDECIDED:
                return "undecided";
        }
        return "?";
}

size_t engine_states(const Engine *engine, HandlerId handler, HandlerState state) {
        return engine->n_states[handler][state];
}

unsigned engine_save_failures(const Engine *engine, size_t *rows) {
        unsigned most = engine->mixed;
        *rows = 0;
        list_for_each(link, &engine->batches) {
                const Batch *batch = container_of(link, Batch, link);
                most = batch->failures > most ? batch->failures : most;
                *rows += batch->failures > 0 ? batch->rows : 0;
        }
        return most;
}

bool engine_ledger_is_away(const Engine *engine) {
        return engine->ledger_failures > 0;
}

const List *engine_runs(const Engine *engine) {
        return &engine->runs;
}

bool engine_commit_has_failed(const Engine *engine) {
        return engine->commit_failed;
}

/* --- a handler ---------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

/* What keeps the host from being restarted, and since when it keeps this message. */
static void inspect_wait(const Message *message, const HandlerTask *task, InspectedHandler *out) {
        const Host *host = message->target;
        bool asking = task->state == HANDLER_ASKING;
        int64_t from = later(message->received_us, task->ended_us);
        out->waits_for = asking && host != NULL ? host->since_wait : message_waits_for(message);
        if (out->waits_for == WAIT_NONE) {
                return;
        }
        if (out->waits_for == WAIT_RETRY) {
                out->again_us =
                        heap_node_is_linked(&message->retry) ? message->retry.key : INT64_MAX;
        } else if (out->waits_for == WAIT_HOST && host != NULL && host->run != NULL) {
                out->since_us = later(host->run->started_us, from);
        } else if (host != NULL && host->since_wait == out->waits_for) {
                out->since_us = later(host->since_us, from);
                out->again_us = heap_node_is_linked(&host->ask) ? host->ask.key : INT64_MAX;
        }
}

void inspect_handler(const Message *message, HandlerId handler, InspectedHandler *out) {
        const HandlerTask *task = &message->handlers[handler];
        *out = (InspectedHandler){.state = task->state,
                                  .outcome = task->outcome,
                                  .attempts = task->attempts,
                                  .charged = task->charged,
                                  .since_us = task->since_us,
                                  .again_us = INT64_MAX};
        if (message->fault != NULL && message->fault_handler == handler) {
                out->detail = message->fault->detail;
        } else if (task->reason != NULL) {
                out->detail = task->reason;
        }
        if (handler != HANDLER_RESTART) {
                return;
        }
        inspect_wait(message, task, out);
        if (message->run != NULL) {
                out->run = message->run;
                out->detail = out->run->detail != NULL && out->run->detail[0] != '\0'
                                      ? out->run->detail
                                      : out->detail;
        }
}

/* --- the oldest messages ------------------------------------------------------------------ */

/* Where the merge stands in a partition's list. */
typedef struct Cursor {
        HeapNode node;       /* by `received_us` */
        int64_t received_us; /* of the message at */
        const Partition *partition;
        const List *at;
} Cursor;

static int keep_text(Inspection *inspection, const char *text, size_t most, size_t *at) {
        *at = INSPECT_NONE;
        if (text == NULL) {
                return 0;
        }
        size_t start = inspection->text.size;
        int r = buffer_append(&inspection->text, text, strnlen(text, most));
        r = r == 0 ? buffer_append_char(&inspection->text, '\0') : r;
        if (r == 0) {
                *at = start;
        }
        return r;
}

static int keep_message(Inspection *inspection, const Message *message) {
        const Partition *partition = message->partition;
        InspectedMessage *copy = &inspection->messages[inspection->n];
        *copy = (InspectedMessage){.partition = partition->partition,
                                   .offset = message->offset,
                                   .received_us = message->received_us,
                                   .received_wall_us = message->received_wall_us,
                                   .saved = message->offset < partition->fence};
        int r = keep_text(inspection, partition->topic, SIZE_MAX, &copy->topic);
        r = r == 0 ? keep_text(inspection, message->host, SIZE_MAX, &copy->host) : r;
        r = r == 0 ? keep_text(inspection, message->id, SIZE_MAX, &copy->id) : r;
        for (int i = 0; r == 0 && i < HANDLER_COUNT; i++) {
                InspectedHandler *is = &copy->handlers[i].is;
                inspect_handler(message, (HandlerId)i, is);
                copy->handlers[i].runs = is->run != NULL;
                if (is->run != NULL) {
                        copy->handlers[i].phase = is->run->phase;
                        copy->handlers[i].run_id = is->run->id;
                }
                r = keep_text(inspection, is->detail, INSPECT_DETAIL_MAX - 1,
                              &copy->handlers[i].detail);
                is->run = NULL;
                is->detail = NULL;
        }
        inspection->n += r == 0;
        return r;
}

/* To the next message that is one; false: there is none, or too many were passed. */
static bool cursor_settle(Cursor *cursor, Inspection *inspection, size_t *passed) {
        for (; cursor->at != &cursor->partition->messages; cursor->at = cursor->at->next) {
                const Message *message = container_of(cursor->at, Message, link);
                inspection->touched++;
                if (!message->gap) {
                        cursor->received_us = message->received_us;
                        return true;
                }
                if (++*passed > INSPECT_PASSED_MAX) {
                        return false;
                }
        }
        return false;
}

static int merge(Inspection *inspection, Heap *heap, size_t most, size_t *passed) {
        int r = 0;
        while (r == 0 && inspection->n < most) {
                HeapNode *first = heap_first(heap);
                if (first == NULL) {
                        break;
                }
                Cursor *cursor = container_of(first, Cursor, node);
                r = keep_message(inspection, container_of(cursor->at, Message, link));
                cursor->at = cursor->at->next;
                /* Within a partition receipts never go back, so the key only grows. */
                if (cursor_settle(cursor, inspection, passed)) {
                        heap_update(heap, first, cursor->received_us);
                } else {
                        heap_remove(heap, first);
                }
        }
        return r;
}

int inspect_messages(Inspection *inspection, const Engine *engine, size_t most) {
        size_t n = 0, passed = 0;
        Heap heap = {0};
        most = most < INSPECT_MESSAGES_MAX ? most : INSPECT_MESSAGES_MAX;
        inspection->total = engine->in_flight + engine->waiting;
        most = most < inspection->total ? most : inspection->total;
        list_for_each(link, &engine->partitions) {
                n++;
        }
        inspection->touched += n;
        Cursor *cursors = calloc(n + 1, sizeof(*cursors));
        inspection->messages = calloc(most + 1, sizeof(*inspection->messages));
        int r = cursors == NULL || inspection->messages == NULL ? error_origin(-ENOMEM) : 0;
        n = 0;
        list_for_each(link, &engine->partitions) {
                if (r != 0) {
                        break;
                }
                Cursor *cursor = &cursors[n++];
                cursor->partition = container_of(link, Partition, link);
                cursor->at = cursor->partition->messages.next;
                heap_node_init(&cursor->node);
                if (cursor_settle(cursor, inspection, &passed)) {
                        r = heap_insert(&heap, &cursor->node, cursor->received_us);
                }
        }
        r = r == 0 ? merge(inspection, &heap, most, &passed) : r;
        heap_deinit(&heap);
        free(cursors);
        return r;
}

void inspection_deinit(Inspection *inspection) {
        free(inspection->messages);
        buffer_deinit(&inspection->text);
        *inspection = (Inspection){0};
}

const char *inspection_text(const Inspection *inspection, size_t at) {
        return at == INSPECT_NONE ? NULL : (const char *)inspection->text.data + at;
}
