/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A queue of jobs under a mutex: this is not the packet path. A job brings the row that it will put
 * in force, so once it was taken nothing can fail but the building of a part. */
#include "dataplane/ops/builder.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-qsbr.h>

#include "common/log.h"
#include "dataplane/ops/keyring.h"

struct job {
    struct job *next;
    struct policy *row;   /* the new row, once filled in */
    struct policy parts;  /* NULL: stays as it is */
    enum part built_part; /* by build(plan), unless that is NULL */
    void *(*build)(const void *plan);
    void (*call)(void *argument); /* NULL: not that kind of job */
    void *plan;                   /* of either */
};

struct builder {
    struct policy_slot *slot;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last; /* the first is the one in hand, until it is done */
    struct job *reserved;      /* control thread's */
    bool stop;
};

static void free_services(void *block)
{
    services_free(block);
}

static void free_keys(void *block)
{
    keyring_keys_free(block);
}

static void free_lists(void *block)
{
    lists_free(block);
}

/* Where each part is in the row, and how it is freed. */
static const struct {
    size_t offset;
    void (*free)(void *block);
} kinds[PARTS] = {
    [PART_SERVICES] = {offsetof(struct policy, services), free_services},
    [PART_BALANCE] = {offsetof(struct policy, balance), free},
    [PART_OFFERS] = {offsetof(struct policy, offers), free},
    [PART_NEIGHBORS] = {offsetof(struct policy, neighbors), free},
    [PART_LIMITS] = {offsetof(struct policy, limits), free},
    [PART_KEYS] = {offsetof(struct policy, keys), free_keys},
    [PART_LISTS] = {offsetof(struct policy, lists), free_lists},
    [PART_RULES] = {offsetof(struct policy, rules), free},
};

_Static_assert(sizeof(struct policy) == PARTS * sizeof(void *), "every part has a row in kinds");

static void *part_of(const struct policy *row, enum part part)
{
    void *block;
    memcpy(&block, (const char *)row + kinds[part].offset, sizeof block);
    return block;
}

void builder_set(struct policy *row, enum part part, void *block)
{
    memcpy((char *)row + kinds[part].offset, &block, sizeof block);
}

void builder_free(enum part part, void *block)
{
    if (block != NULL)
        kinds[part].free(block);
}

void builder_free_all(const struct policy *parts)
{
    for (int part = 0; part < PARTS; part++)
        builder_free((enum part)part, part_of(parts, (enum part)part));
}

void builder_free_row(const struct policy *row)
{
    if (row == NULL)
        return;
    builder_free_all(row);
    free((void *)(uintptr_t)row);
}

const struct policy *builder_first_row(const struct policy *parts)
{
    struct policy *row = malloc(sizeof *row);
    if (row == NULL)
        builder_free_all(parts);
    else
        *row = *parts;
    return row;
}

static struct job *take_job(struct builder *builder)
{
    pthread_mutex_lock(&builder->lock);
    while (builder->first == NULL && !builder->stop)
        pthread_cond_wait(&builder->wake, &builder->lock);
    struct job *job = builder->first;
    pthread_mutex_unlock(&builder->lock);
    return job;
}

static void drop_job(struct builder *builder, struct job *job)
{
    pthread_mutex_lock(&builder->lock);
    if ((builder->first = job->next) == NULL)
        builder->last = &builder->first;
    pthread_mutex_unlock(&builder->lock);
    free(job);
}

bool builder_idle(struct builder *builder)
{
    pthread_mutex_lock(&builder->lock);
    bool idle = builder->first == NULL;
    pthread_mutex_unlock(&builder->lock);
    return idle;
}

/* Puts the job's row in force: the one before with the new parts in it. */
static void publish(struct builder *builder, struct job *job)
{
    const struct policy *old = builder->slot->row;
    *job->row = *old;
    for (int part = 0; part < PARTS; part++)
        if (part_of(&job->parts, (enum part)part) != NULL)
            builder_set(job->row, (enum part)part, part_of(&job->parts, (enum part)part));
    /* As rcu_assign_pointer, which wants no pointer to const. */
    __atomic_store_n(&builder->slot->row, job->row, __ATOMIC_RELEASE);
    urcu_qsbr_synchronize_rcu();
    for (int part = 0; part < PARTS; part++)
        if (part_of(&job->parts, (enum part)part) != NULL)
            builder_free((enum part)part, part_of(old, (enum part)part));
    free((void *)(uintptr_t)old);
}

static void do_job(struct builder *builder, struct job *job)
{
    if (job->call != NULL) {
        job->call(job->plan);
        free(job->plan);
        free(job->row);
        return;
    }
    if (job->build != NULL) {
        void *block = job->build(job->plan);
        free(job->plan);
        if (block == NULL) {
            log_error("no_memory", "a policy part could not be built; the old one stays in force");
            free(job->row);
            return;
        }
        builder_set(&job->parts, job->built_part, block);
    }
    publish(builder, job);
}

static void *run(void *argument)
{
    struct builder *builder = argument;
    struct job *job;
    while ((job = take_job(builder)) != NULL) {
        do_job(builder, job);
        drop_job(builder, job);
    }
    return NULL;
}

static struct builder *start(struct policy_slot *slot, const char *name)
{
    struct builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL)
        return NULL;
    builder->slot = slot;
    builder->last = &builder->first;
    pthread_mutex_init(&builder->lock, NULL);
    pthread_cond_init(&builder->wake, NULL);
    if (pthread_create(&builder->thread, NULL, run, builder) != 0) {
        free(builder);
        return NULL;
    }
    pthread_setname_np(builder->thread, name);
    return builder;
}

struct builder *builder_start(struct policy_slot *slot)
{
    return start(slot, "dg-builder");
}

struct builder *builder_start_reader(void)
{
    return start(NULL, "dg-reader");
}

static struct job *new_job(void)
{
    struct job *job = malloc(sizeof *job);
    struct policy *row = malloc(sizeof *row);
    if (job == NULL || row == NULL) {
        free(job);
        free(row);
        return NULL;
    }
    job->row = row;
    return job;
}

static int hand_over_as(struct builder *builder, struct job *job, const struct job *what)
{
    if (job == NULL)
        return -ENOMEM;
    struct policy *row = job->row;
    *job = *what;
    job->row = row;
    pthread_mutex_lock(&builder->lock);
    *builder->last = job;
    builder->last = &job->next;
    pthread_cond_signal(&builder->wake);
    pthread_mutex_unlock(&builder->lock);
    return 0;
}

static int hand_over(struct builder *builder, const struct job *what)
{
    return hand_over_as(builder, new_job(), what);
}

int builder_publish(struct builder *builder, enum part part, void *block)
{
    struct job job = {.next = NULL};
    builder_set(&job.parts, part, block);
    return hand_over(builder, &job);
}

int builder_reserve(struct builder *builder)
{
    if (builder->reserved == NULL)
        builder->reserved = new_job();
    return builder->reserved == NULL ? -ENOMEM : 0;
}

int builder_publish_all(struct builder *builder, const struct policy *parts)
{
    struct job *job = builder->reserved != NULL ? builder->reserved : new_job();
    builder->reserved = NULL;
    return hand_over_as(builder, job, &(struct job){.parts = *parts});
}

int builder_build(struct builder *builder, enum part part, void *(*build)(const void *plan),
                  void *plan)
{
    return hand_over(builder, &(struct job){.built_part = part, .build = build, .plan = plan});
}

int builder_call(struct builder *builder, void (*call)(void *argument), void *argument)
{
    return hand_over(builder, &(struct job){.call = call, .plan = argument});
}

void builder_stop(struct builder *builder)
{
    pthread_mutex_lock(&builder->lock);
    builder->stop = true;
    pthread_cond_signal(&builder->wake);
    pthread_mutex_unlock(&builder->lock);
    pthread_join(builder->thread, NULL);
    pthread_mutex_destroy(&builder->lock);
    pthread_cond_destroy(&builder->wake);
    if (builder->reserved != NULL)
        free(builder->reserved->row);
    free(builder->reserved);
    free(builder);
}
