/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The texts of the verdict table. */
#include "dataplane/net/verdict.h"

static const struct {
    const char *name, *help;
} rows[] = {
#define VERDICT_ROW(name, text, doc) [VERDICT_##name] = {text, doc},
    VERDICTS(VERDICT_ROW)
#undef VERDICT_ROW
};

const char *verdict_name(enum verdict verdict)
{
    return (unsigned)verdict < VERDICT_COUNT ? rows[verdict].name : "unknown";
}

const char *verdict_help(enum verdict verdict)
{
    return (unsigned)verdict < VERDICT_COUNT ? rows[verdict].help : "unknown";
}
