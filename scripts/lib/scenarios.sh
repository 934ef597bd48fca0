# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Runs the laboratory's scenarios one after the other, with services that outlive each of them. Sourced after
# tests/lab/lib.sh and results.sh, by a script that owns the laboratory.

# A sanitizer's finding, or a service that ended by itself, is a failure of whatever ran meanwhile.
scenario__findings() {
    local during=$1 log service
    for log in "$LOGS"/*.log; do
        [[ -f $log && ! -L $log && ! -e $log.seen ]] || continue
        if grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$log"; then
            touch "$log.seen"
            result fail 0.0 "lab: $during: a sanitizer's finding in ${log##*/}" "$log"
        fi
    done
    for service in dataplane control transfer; do
        if [[ -e $(proc_record_path "$service") ]] && ! proc_alive "$service"; then
            rm -f "$(proc_record_path "$service")"
            result fail 0.0 "lab: $during: $service has ended by itself" "$LOGS/$service.log"
        fi
    done
}

scenario__wanted() { # scenario__wanted SCENARIO [PART…]: no part, or one that is in its name
    local scenario=$1 part
    shift
    (($# > 0)) || return 0
    for part in "$@"; do
        if [[ $scenario == *"$part"* ]]; then return 0; fi
    done
    return 1
}

# run_scenarios [PART…]: all, or those with a PART in their file's name.
run_scenarios() {
    local file scenario limit service
    rm -f "$LOGS"/*.log "$LOGS"/*.seen
    pg_drop "$LAB_DIR/postgres" # a ledger of its own for each run
    "$ROOT/scripts/lab" up
    for file in "$ROOT"/tests/lab/[0-9]*.sh; do
        scenario=$(basename "$file" .sh)
        scenario__wanted "$scenario" "$@" || continue
        # A soak runs when it is named, or when soaks are wanted.
        if [[ $# == 0 && ${long:-no} == no ]] && grep -q '^# long: yes' "$file"; then continue; fi
        limit=$(sed -n 's/^# limit: *\([0-9]*\).*/\1/p' "$file")
        run_test "lab: ${scenario//_/ }" "${limit:-120}" "$LOGS/scenario-$scenario.log" bash "$file"
        # One that was ended in the middle of it leaves the bad line in; the next one wants a good one.
        if [[ -e /run/netns/$DROPGATE_LAB-relay ]]; then relay_out; fi
        if [[ -e /run/netns/$DROPGATE_LAB-far ]]; then "$ROOT/scripts/lab" far out; fi
        scenario__findings "$scenario"
    done
    for service in transfer control dataplane; do proc_stop "$service" TERM 10; done
    scenario__findings "the end"
}
