# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# One line per test as it ends, and one line for all of them at the end. The lines are kept in $RESULTS, which the
# runner names and empties first. Sourced after common.sh.

# result pass|fail|skip SECONDS NAME [LOG]: the end of the log is shown when it failed.
result() {
    local outcome=$1 seconds=$2 name=$3 log=${4:-} colour=$green
    printf '%s\t%s\t%s\t%s\n' "$outcome" "$seconds" "$name" "$log" >>"$RESULTS"
    case $outcome in fail) colour=$red ;; skip) colour=$yellow ;; esac
    printf '%s%s%s %7s s  %s\n' "$colour" "$outcome" "$plain" "$seconds" "$name"
    if [[ $outcome == fail && -n $log ]]; then
        { grep -E '^not ok|ERROR:|runtime error|FAILED|died at' "$log" || tail -n 15 "$log"; } 2>/dev/null |
            tail -n 30 | sed 's/^/       /'
        printf '       the whole log: %s\n' "$log"
    fi
}

# results_of OUTCOME: how many so far.
results_of() { awk -F '\t' -v want="$1" '$1 == want { n++ } END { print n + 0 }' "$RESULTS"; }

# results_end: what failed, by name, then the last line. Returns whether nothing failed and something passed.
results_end() {
    local passed failed skipped
    passed=$(results_of pass) failed=$(results_of fail) skipped=$(results_of skip)
    if ((failed > 0)); then
        printf '\nfailed:\n'
        awk -F '\t' '$1 == "fail" { printf "  %s  (%s)\n", $3, $4 }' "$RESULTS"
    fi
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0 && passed > 0))
}

# run_test NAME LIMIT LOG CMD…: a test that is one command: exit 0 passes, 77 skips, anything else or LIMIT seconds fail.
run_test() {
    local name=$1 limit=$2 log=$3 from=$EPOCHREALTIME rc=0 outcome=fail
    shift 3
    proc_run "test-${log##*/}" "$log" timeout --kill-after=10 "$limit" "$@" || rc=$?
    case $rc in
    0) outcome=pass ;;
    77) outcome=skip ;;
    124 | 137) echo "not ok: still running after $limit s, and ended" >>"$log" ;;
    esac
    result "$outcome" "$(seconds_since "$from")" "$name" "$log"
}
