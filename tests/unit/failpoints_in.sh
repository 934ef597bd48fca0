#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A program holds failpoints exactly when its build asked for them: no shipped one has a symbol, a place's name or the
# variable. The places are those of the source, so that a new one is looked for too. usage: … yes|no SOURCE PROGRAM…
set -eu
wanted=$1 source=$2
shift 2
places=$(grep -rhoE 'FAILPOINT\("[a-z0-9_.]+"\)' "$source/control" "$source/dataplane" | sed 's/.*("//; s/").*//' | sort -u)
[ -n "$places" ] || { echo "the source names no place"; exit 1; }
for program in "$@"; do
    found=$({ nm "$program" 2>/dev/null | grep -oE 'failpoint_(pass|absent)' || true
        grep -aoE 'DROPGATE_FAILPOINTS|failpoint_malformed' "$program" || true
        printf '%s\n' "$places" | while read -r place; do grep -aoF -- "$place" "$program" || true; done; } | sort -u)
    if [ "$wanted" = no ] && [ -n "$found" ]; then
        echo "$program holds failpoints:"; echo "$found"; exit 1
    fi
    if [ "$wanted" = yes ]; then # and so the search itself is seen to find them
        for word in failpoint_pass DROPGATE_FAILPOINTS $places; do
            printf '%s\n' "$found" | grep -qFx -- "$word" || { echo "$program lacks $word"; exit 1; }
        done
    fi
done
