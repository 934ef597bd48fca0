# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# What every script shares: where the tree is, how progress is shown, and who owns the laboratory.
# Sourced by bash, never run. Nothing here starts or ends a process; that is process.sh.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export ROOT

# A second laboratory beside the first one: DROPGATE_LAB=other gives namespaces other-client, other-gateway, …
export DROPGATE_LAB=${DROPGATE_LAB:-dg}
[[ $DROPGATE_LAB =~ ^[a-z][a-z0-9]{0,9}$ ]] || {
    echo "DROPGATE_LAB=$DROPGATE_LAB: want a short name of small letters and digits" >&2
    exit 2
}

# Namespaces belong to the machine, not to this clone, so what runs in them is recorded for the whole machine:
# a second clone cleans up what a killed run of the first one left, and a reboot forgets it all.
LAB_STATE=/run/dropgate/$DROPGATE_LAB
if [[ $DROPGATE_LAB == dg ]]; then LAB_DIR=$ROOT/build/lab; else LAB_DIR=$ROOT/build/lab-$DROPGATE_LAB; fi
export LAB_STATE LAB_DIR

if [[ -t 2 ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
else
    bold='' red='' green='' yellow='' plain=''
fi

say() { printf '%s\n' "$*" >&2; }
title() { printf '%s== %s%s\n' "$bold" "$*" "$plain" >&2; }

die() {
    printf '%s%s: %s%s\n' "$red" "${0##*/}" "$*" "$plain" >&2
    exit 1
}

need_root() { [[ $EUID -eq 0 ]] || die "this makes network namespaces: run it as root (sudo $0)"; }

# seconds_since STAMP: tenths of seconds since STAMP, which was $EPOCHREALTIME then.
seconds_since() {
    local now=${EPOCHREALTIME/[.,]/} then=${1/[.,]/}
    local tenths=$(((now - then) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# step "what" LOG CMD…: one line of progress; the command's output goes to LOG. A failure names the log, shows
# its end, and ends the script.
step() {
    local what=$1 log=$2 from=$EPOCHREALTIME rc=0
    shift 2
    mkdir -p "${log%/*}"
    printf '%-58s' "$what …" >&2
    proc_run "step-${log##*/}" "$log" "$@" || rc=$?
    if ((rc == 0)); then
        printf '%sdone%s %8s s\n' "$green" "$plain" "$(seconds_since "$from")" >&2
        return 0
    fi
    printf '%sfailed%s %6s s\n' "$red" "$plain" "$(seconds_since "$from")" >&2
    tail -n 25 "$log" | sed 's/^/    /' >&2
    die "$what: failed (exit $rc); the whole log: $log"
}
