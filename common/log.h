/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One log line per thing an operator should know: JSON lines (RFC 8259) on stderr, or readable text
 * when stderr is a terminal. Rate limited per event name, so a fault cannot fill a disk. Never
 * called from the packet path; never given a token, key or user identity. */
#ifndef DROPGATE_COMMON_LOG_H
#define DROPGATE_COMMON_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/** Sets the program's name and the lowest level that is written. Call once, before any thread
 * starts. */
void log_open(const char *program, enum log_level lowest);

/** Changes the lowest level that is written. Any thread. */
void log_set_lowest(enum log_level lowest);

/** Writes one line. `event` is a string constant, a snake_case name that scripts may match on; the
 * formatted rest is for people, says what the operator can do, and is cut at 1,024 bytes. At most
 * 20 lines per second and event are written; the next line written for that event says how many
 * were left out. Any thread that is not a worker. */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_write(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_write(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_write(LOG_LEVEL_WARNING, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#endif
