/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What the lab's clients share: an address of its own for each of many clients, sockets bound to
 * it, a clock and numbers from the command line. Single-threaded programs that run inside dg-client
 * only. */
#ifndef DROPGATE_TESTS_LAB_CROWD_H
#define DROPGATE_TESTS_LAB_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/** Where the crowd goes: a service in each family; a length of 0 means that the family is not used.
 */
struct crowd_target {
    struct sockaddr_storage address[2]; /* [0] IPv4, [1] IPv6 */
    socklen_t length[2];
};

/** Reads "198.18.0.80:80" or "[2001:db8::80]:80" into its family's place; exits with a message if
 * it is neither. */
void crowd_target_add(struct crowd_target *target, const char *text);

/** The family (0 or 1) that client n uses: alternating when both are there. */
int crowd_family(const struct crowd_target *target, unsigned n);

/** A socket of client n, bound to its own address; `flags` as for socket(2). Returns the descriptor
 * or -errno. */
int crowd_socket(const struct crowd_target *target, unsigned n, int flags);

/** Begins a non-blocking connection of client n from its own address (198.18.64.0/18, where 16,000
 * clients have one each; 2001:db8:1000::/36, a /64 each). Returns the descriptor or -errno. */
int crowd_connect(const struct crowd_target *target, unsigned n);

/** Raises the limit of open files to `files`; exits with a message when that is refused. */
void crowd_allow_files(unsigned files);

/** Microseconds of the monotonic clock, and of the wall clock since 1970. */
int64_t crowd_now(void);
int64_t crowd_wall(void);

/** A decimal within [min, max]; anything else ends the program with a message that names the
 * option. */
int64_t crowd_number(const char *option, const char *text, int64_t min, int64_t max);

#endif
