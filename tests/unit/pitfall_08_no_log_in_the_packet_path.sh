#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The packet walk links to no log, clock, lock, file or socket: nothing that an attacker's packet could make it wait for
# (tcp-pitfalls 8). Its library's undefined symbols say so. usage: … LIBRARY
set -eu
wanted='log_|printf|^puts$|write|syslog|clock_|^time$|gettimeofday|sleep|pthread_|^(f|fd|p|fre|shm_|mq_)?open|^read$|^send|^recv|socket|ioctl|rte_'
# A symbol that one object lacks and another has is none of ours to worry about: only what the library leaves open counts.
undefined=$(nm -u "$1" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
defined=$(nm --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
[ -n "$undefined" ] || { echo "no symbols in $1"; exit 1; }
found=$(printf '%s\n' "$undefined" | grep -E "$wanted" | grep -Fxv "$defined" || true)
[ -z "$found" ] || { echo "the packet walk reaches for:"; echo "$found"; exit 1; }
