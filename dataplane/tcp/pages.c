/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Anonymous mappings aligned to 2 MiB, with transparent huge pages asked for. */
#include "dataplane/tcp/pages.h"

#include <stdint.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

static size_t rounded(size_t size)
{
    return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void *pages_new(size_t size)
{
    /* One huge page more than needed, so that an aligned piece can be cut out. */
    size_t kept = rounded(size), asked = kept + HUGE_PAGE;
    uint8_t *all = mmap(NULL, asked, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)all % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(all, before);
    if (asked - before > kept)
        munmap(all + before + kept, asked - before - kept);
    madvise(all + before, kept, MADV_HUGEPAGE); /* a wish: small pages work too */
    return all + before;
}

void pages_free(void *pages, size_t size)
{
    if (pages != NULL)
        munmap(pages, rounded(size));
}
