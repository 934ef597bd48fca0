/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What the bench insists on: a failure ends the test at hand or, in a fuzzer, the program. For the
 * bench's own files only. */
#ifndef DROPGATE_TESTS_UNIT_WIRE_MUST_H
#define DROPGATE_TESTS_UNIT_WIRE_MUST_H

#ifdef WIRE_ABORTS
#include <stdlib.h>
#define MUST(condition) ((condition) ? (void)0 : abort())
#else
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// clang-format off
#include <cmocka.h>
// clang-format on
#define MUST(condition) assert_true(condition)
#endif

#endif
