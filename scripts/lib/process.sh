# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Processes that we start, and only those: each is recorded as "pid start-time" before it runs its program, and
# nothing is ever signalled whose pid and start time do not both match (a pid alone may have been given away).
# Each gets a session of its own, so that its children are ended with it. Sourced after common.sh.

# proc_birth PID: the kernel's start time of PID, or nothing when it is gone or a zombie.
proc_birth() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    stat=${stat##*) } # the name in brackets may hold anything
    # shellcheck disable=SC2086
    set -- $stat
    [[ $1 == Z || $1 == X ]] || printf '%s' "${20}"
}

proc_record_path() { printf '%s/run/%s' "$LAB_STATE" "$1"; }

# proc_pid NAME: the pid of the running process of that name, or nothing.
proc_pid() {
    local pid birth
    { read -r pid birth <"$(proc_record_path "$1")"; } 2>/dev/null || return 0
    [[ -n $birth && $(proc_birth "$pid") == "$birth" ]] && printf '%s' "$pid"
    return 0
}

proc_alive() { [[ -n $(proc_pid "$1") ]]; }

# proc_start NAME LOG CMD…: starts CMD in the background with its output in LOG. The record is written by the
# child before it becomes CMD, so there is no moment at which it runs unrecorded.
proc_start() {
    local name=$1 log=$2 record self
    shift 2
    record=$(proc_record_path "$name")
    mkdir -p "${record%/*}" "${log%/*}"
    (
        trap - EXIT INT TERM HUP
        self=$BASHPID # not within $(…): that is another process
        echo "$self $(proc_birth "$self")" >"$record"
        exec setsid -- "$@" >"$log" 2>&1 </dev/null
    ) &
    PROC_LAST=$!
    local tries=0
    until [[ -s $record && $(<"$record") == "$PROC_LAST "* ]] || ((++tries > 500)); do sleep 0.01; done
}

# proc_wait NAME: waits for a process that this shell started; its exit status.
proc_wait() {
    local record pid rc=0
    record=$(proc_record_path "$1")
    read -r pid _ <"$record"
    wait "$pid" || rc=$?
    rm -f "$record"
    return "$rc"
}

# proc_run NAME LOG CMD…: runs CMD to its end, but recorded, so that a killed run leaves nothing unnoticed.
proc_run() {
    proc_start "$@"
    proc_wait "$1"
}

# proc__ends PID SECONDS: waits for it to end, with all its threads. One that nobody has asked for its status yet has
# ended too: of an orphan that can take seconds.
proc__ends() {
    local until=$((SECONDS + $2))
    while [[ -n $(proc_birth "$1") || $(echo "/proc/$1/task/"*) == *" "* ]]; do
        ((SECONDS <= until)) || return 0
        sleep 0.02
    done
}

# proc_stop NAME [SIGNAL [SECONDS]]: SIGNAL (TERM) to the process, then KILL to its whole session when it has not
# gone within SECONDS (5). Nothing when it is not running.
proc_stop() {
    local name=$1 signal=${2:-TERM} seconds=${3:-5} pid
    pid=$(proc_pid "$name")
    if [[ -n $pid ]]; then
        kill -s "$signal" "$pid" 2>/dev/null || true
        proc__ends "$pid" "$seconds"
        if [[ $(proc_pid "$name") == "$pid" ]]; then kill -s KILL -- "-$pid" 2>/dev/null || true; fi
        proc__ends "$pid" 5
    fi
    rm -f "$(proc_record_path "$name")"
}

# proc_stop_all: every recorded process, at once and without ceremony.
proc_stop_all() {
    local record name pid
    for record in "$LAB_STATE"/run/*; do
        [[ -e $record ]] || continue
        name=${record##*/}
        pid=$(proc_pid "$name")
        [[ -z $pid ]] || kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid" 2>/dev/null || true
    done
    for record in "$LAB_STATE"/run/*; do
        [[ -e $record ]] || continue
        proc_stop "${record##*/}" KILL 5
    done
}
