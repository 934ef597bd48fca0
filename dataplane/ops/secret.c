/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whole pages by mmap: advice about dumps holds for pages only. */
#include "dataplane/ops/secret.h"

#include <string.h>
#include <sys/mman.h>

void *secret_new(size_t size)
{
    void *secret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (secret == MAP_FAILED)
        return NULL;
    if (madvise(secret, size, MADV_DONTDUMP) != 0 || madvise(secret, size, MADV_WIPEONFORK) != 0) {
        munmap(secret, size);
        return NULL;
    }
    mlock(secret, size); /* a wish: RLIMIT_MEMLOCK may be small */
    return secret;
}

void secret_free(void *secret, size_t size)
{
    if (secret == NULL)
        return;
    explicit_bzero(secret, size);
    munmap(secret, size);
}
