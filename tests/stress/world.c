#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "random.h"
#include "util/loop.h"

void world_host_name(int host, char name[HOST_NAME_SIZE]) {
        snprintf(name, HOST_NAME_SIZE, "host%d.example.com", host);
}

/* With the mutex. */
static void message_renew(World *world, Message *message) {
        uint64_t *random = &world->random;
        int64_t offset = world->next_offset++;
        *message = (Message){.offset = offset,
                             .host = (int)random_below(random, (unsigned)world->rules.hosts),
                             .request = (unsigned)offset,
                             .received_us = loop_wall(),
                             .requested_us = -1};
        world->hosts[offset % HISTORY] = message->host;
        /* One in four repeats an earlier request, some have no id. */
        if (random_percent(random, 25) && offset > HISTORY) {
                unsigned back = 1 + random_below(random, HISTORY - 1);
                message->request -= back;
                message->host = world->hosts[(offset - back) % HISTORY];
                world->hosts[offset % HISTORY] = message->host;
        } else if (random_percent(random, 40)) {
                message->request = 0;
        }
        if (random_percent(random, 70)) {
                message->requested_us =
                        message->received_us - (int64_t)random_below(random, 400 * 1000);
        }
        if (random_percent(random, 2)) {
                message->requested_us = message->received_us - 2 * world->rules.policy.max_age_us;
        }
}

void world_init(World *world, size_t n_messages) {
        pthread_mutex_init(&world->mutex, NULL);
        journal_init(&world->journal);
        world->random = world->seed;
        world->next_offset = 1;
        world->n_messages = n_messages;
        world->messages = calloc(n_messages, sizeof(*world->messages));
        if (world->messages == NULL) {
                perror("calloc");
                exit(1);
        }
        for (size_t i = 0; i < n_messages; i++) {
                message_renew(world, &world->messages[i]);
        }
}

void world_deinit(World *world) {
        journal_deinit(&world->journal);
        free(world->messages);
        pthread_mutex_destroy(&world->mutex);
}

size_t world_take(World *world, int host, Message **messages, size_t max) {
        size_t n = 0;
        int64_t now = ledger_clock();
        pthread_mutex_lock(&world->mutex);
        size_t first = random_below(&world->random, (unsigned)world->n_messages);
        for (size_t i = 0; i < world->n_messages && n < max; i++) {
                Message *message = &world->messages[(first + i) % world->n_messages];
                if (message->taken || message->not_before_us > now ||
                    (host >= 0 && message->host != host)) {
                        continue;
                }
                message->taken = true;
                messages[n++] = message;
        }
        pthread_mutex_unlock(&world->mutex);
        return n;
}

void world_release(World *world, Message *message, int64_t delay_us) {
        pthread_mutex_lock(&world->mutex);
        message->taken = false;
        message->not_before_us = ledger_clock() + delay_us;
        pthread_mutex_unlock(&world->mutex);
}

void world_resolve(World *world, Message *message) {
        pthread_mutex_lock(&world->mutex);
        message_renew(world, message);
        pthread_mutex_unlock(&world->mutex);
}
