/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Named places at which a test lets the program die, stand still, wait or fail, exactly there and
 * not somewhere near it. They exist only in builds with -Dfailpoints=true, for scripts/faults;
 * elsewhere FAILPOINT is false and neither code nor name of it is left in the program, which
 * tests/unit/failpoints_in.sh shows. Never in the packet path. */
#ifndef DROPGATE_COMMON_FAILPOINT_H
#define DROPGATE_COMMON_FAILPOINT_H

#include <stdbool.h>

/* FAILPOINT("module.place"): passes a place, whose name is a string literal of small letters,
 * digits, '_' and '.'. True if the place shall behave as if its operation had failed; places that
 * cannot fail ignore that.
 *
 * Environment: DROPGATE_FAILPOINTS="PLACE=ACTION[:N],…", read when the first place is passed.
 * ACTION happens at the Nth passage (1 and up, 1 if not given) of PLACE, once:
 *
 *   abort      SIGKILL to the process itself: nothing is flushed, closed or said
 *   stop       SIGSTOP to it: connections stay open, and nobody answers
 *   sleep:MS   the passing thread waits
 *   error      FAILPOINT is true
 *
 * Before it acts, a line with the event `failpoint` is logged, so that a test can tell whether it
 * did. A malformed value ends the process with status 2. Any thread. */
#ifdef DROPGATE_FAILPOINTS
bool failpoint_pass(const char *name);
#define FAILPOINT(name) failpoint_pass(name)
#else
static inline bool failpoint_absent(void)
{
    return false;
}
#define FAILPOINT(name) failpoint_absent()
#endif

#endif
