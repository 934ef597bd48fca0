# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# One run at a time has the laboratory. A run records itself (pid, start time, tree); the next one waits for it
# while it lives, and cleans up behind it when it was killed. Sourced after common.sh, process.sh, postgres.sh.

OWNER=$LAB_STATE/owner

# own_lab: takes the laboratory for this script until it ends, however it ends; cleans what a killed
# predecessor left.
own_lab() {
    local pid birth tree waited=0
    mkdir -p "$LAB_STATE"
    while :; do
        exec 9>"$LAB_STATE/lock"
        flock 9
        pid='' birth='' tree=''
        { read -r pid birth tree <"$OWNER"; } 2>/dev/null || true
        [[ -n $pid && $(proc_birth "$pid") == "$birth" ]] || break
        exec 9>&-
        ((waited++)) || say "the laboratory is in use by process $pid of $tree: waiting for it to end"
        timeout 60 tail --pid="$pid" -f /dev/null || true
        ((waited < 60)) || die "the laboratory has been in use by process $pid for an hour"
    done
    echo "$$ $(proc_birth $$) $ROOT" >"$OWNER"
    export DROPGATE_OWNER=$$
    exec 9>&-
    trap 'lab_abandon $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    if [[ -n $pid ]]; then
        say "cleaning up after process $pid of $tree, which was killed"
        owner__stop_postgres "$tree/build/test-sql" # scripts/test may have been in the middle of it
    fi
    lab_sweep "${tree:-$ROOT}"
}

# lab_sweep TREE: ends everything that was started for the laboratory, wherever it stands.
lab_sweep() {
    local tree=$1 ns pid
    proc_stop_all
    for ns in client gateway server relay far; do
        # These namespaces are ours alone, so whatever is left in them is ours too.
        for pid in $(ip netns pids "$DROPGATE_LAB-$ns" 2>/dev/null); do
            [[ $pid == "$$" ]] || kill -s KILL "$pid" 2>/dev/null || true
        done
    done
    owner__stop_postgres "$tree/build/${LAB_DIR##*/}"
    "$ROOT/scripts/lab" _delete
}

# owner__stop_postgres DIR: every private instance below DIR (postgres.sh knows one by its pid file).
owner__stop_postgres() {
    local part
    [[ -d $1 ]] || return 0
    while read -r part; do
        pg_stop "${part%/*}" || true
    done < <(find "$1" -maxdepth 3 \( -name home -o -name data \) 2>/dev/null)
}

# lab_abandon RC: the EXIT trap; leaves the machine as it was.
lab_abandon() {
    trap - EXIT INT TERM HUP
    set +e
    exec 2>/dev/null # bash reports every child that is killed here
    lab_sweep "$ROOT"
    rm -f "$OWNER"
    exit "$1"
}
