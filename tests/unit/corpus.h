/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads tests/corpus/requests.txt, whose first lines say what it looks like. A mistake in it ends
 * the program with its line. */
#ifndef DROPGATE_TESTS_UNIT_CORPUS_H
#define DROPGATE_TESTS_UNIT_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/http1.h"

enum corpus_end {
    CORPUS_OK,    /* the next request may follow */
    CORPUS_MORE,  /* ends within a head or a body */
    CORPUS_LAST,  /* nothing may follow */
    CORPUS_LARGE, /* fine to who only passes bodies on */
    CORPUS_BAD,   /* refused */
};

struct corpus_case {
    char name[64];
    uint32_t heads; /* complete, before the end */
    enum corpus_end end;
    enum http1_error error; /* of CORPUS_BAD */
    uint32_t length;
    uint8_t *bytes;
};

/** All cases, for the life of the program; `*count` says how many. */
const struct corpus_case *corpus_read(size_t *count);

#endif
