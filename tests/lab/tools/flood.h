/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The sources that the flood pretends to come from, unless it is told others. Nobody in the lab has
 * any of these addresses, so no answer to them is ever answered; `witness` counts by the same two
 * prefixes. */
#ifndef DROPGATE_TESTS_LAB_FLOOD_H
#define DROPGATE_TESTS_LAB_FLOOD_H

#define FLOOD4           0xc6130000U /* 198.19.0.0/16 */
#define FLOOD4_MASK      0xffff0000U
#define FLOOD6_HIGH      0x20010db8U /* 2001:db8:f000::/36: its first word … */
#define FLOOD6_NEXT      0xf0000000U /* … and the first four bits of its second */
#define FLOOD6_NEXT_MASK 0xf0000000U

#endif
