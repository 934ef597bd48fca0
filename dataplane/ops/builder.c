/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A queue of jobs under a mutex: this is not the packet path. */
#include "dataplane/ops/builder.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#include "common/log.h"
#include "dataplane/ops/keyring.h"

struct job {
    struct job *next;
    enum part part;
    void *block;
    void *(*build)(const void *plan); /* NULL: the block is there */
    void *plan;
};

struct builder {
    struct policy *policy;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    bool stop;
};

/* What rcu_xchg_pointer does, for pointers to const. */
static void *swap_part(struct policy *policy, enum part part, void *block)
{
    switch (part) {
    case PART_OFFERS:
        return (void *)(uintptr_t)__atomic_exchange_n(&policy->offers, block, __ATOMIC_ACQ_REL);
    case PART_NEIGHBORS:
        return (void *)(uintptr_t)__atomic_exchange_n(&policy->neighbors, block, __ATOMIC_ACQ_REL);
    case PART_KEYS:
        return (void *)(uintptr_t)__atomic_exchange_n(&policy->keys, block, __ATOMIC_ACQ_REL);
    case PART_BALANCE:
        return (void *)(uintptr_t)__atomic_exchange_n(&policy->balance, block, __ATOMIC_ACQ_REL);
    }
    return block;
}

void builder_free(enum part part, void *block)
{
    if (part == PART_KEYS)
        keyring_keys_free(block);
    else
        free(block);
}

static struct job *take_job(struct builder *builder)
{
    pthread_mutex_lock(&builder->lock);
    while (builder->first == NULL && !builder->stop)
        pthread_cond_wait(&builder->wake, &builder->lock);
    struct job *job = builder->first;
    if (job != NULL && (builder->first = job->next) == NULL)
        builder->last = &builder->first;
    pthread_mutex_unlock(&builder->lock);
    return job;
}

static void publish(struct builder *builder, enum part part, void *block)
{
    void *old = swap_part(builder->policy, part, block);
    urcu_qsbr_synchronize_rcu();
    builder_free(part, old);
}

static void *run(void *argument)
{
    struct builder *builder = argument;
    struct job *job;
    while ((job = take_job(builder)) != NULL) {
        if (job->build != NULL)
            job->block = job->build(job->plan);
        if (job->block != NULL)
            publish(builder, job->part, job->block);
        else
            log_error("no_memory", "a policy part could not be built; the old one stays in force");
        free(job->plan);
        free(job);
    }
    return NULL;
}

struct builder *builder_start(struct policy *policy)
{
    struct builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL)
        return NULL;
    builder->policy = policy;
    builder->last = &builder->first;
    pthread_mutex_init(&builder->lock, NULL);
    pthread_cond_init(&builder->wake, NULL);
    if (pthread_create(&builder->thread, NULL, run, builder) != 0) {
        free(builder);
        return NULL;
    }
    pthread_setname_np(builder->thread, "dg-builder");
    return builder;
}

static int hand_over(struct builder *builder, const struct job *what)
{
    struct job *job = malloc(sizeof *job);
    if (job == NULL)
        return -ENOMEM;
    *job = *what;
    pthread_mutex_lock(&builder->lock);
    *builder->last = job;
    builder->last = &job->next;
    pthread_cond_signal(&builder->wake);
    pthread_mutex_unlock(&builder->lock);
    return 0;
}

int builder_publish(struct builder *builder, enum part part, void *block)
{
    return hand_over(builder, &(struct job){.part = part, .block = block});
}

int builder_build(struct builder *builder, enum part part, void *(*build)(const void *plan),
                  void *plan)
{
    return hand_over(builder, &(struct job){.part = part, .build = build, .plan = plan});
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
    free(builder);
}
