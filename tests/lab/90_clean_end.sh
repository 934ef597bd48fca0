# SPDX-License-Identifier: BSD-3-Clause
# SIGTERM ends both programs with 0, idle or under load, and leaves nothing behind; they start again at once.
. "${0%/*}/lib.sh"
proc_stop dataplane
proc_stop control
needs postgres

# Started by this shell, so that their exit status is ours to see.
for round in idle busy; do
    needs control dataplane
    sale=$(new_sale 200)
    if [[ $round == busy ]]; then
        proc_start shoppers "$LOGS/shoppers-end.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/shoppers" --to "$VIP4:80" \
            --to "[$VIP6]:80" --sale "$sale" --shoppers 400 --within 10 --prefix end- --history "$LAB_DIR/history-$sale.jsonl"
        until_true 20 grep -q '"granted":[1-9]' "$LOGS/shoppers-end.log"
    fi
    for program in dataplane control; do
        began=$EPOCHREALTIME rc=0
        kill -TERM "$(proc_pid $program)"
        proc_wait $program || rc=$?
        expect_equal "$program ends with 0 when $round ($(seconds_since "$began") s)" 0 $rc
    done
    expect_equal "DPDK's runtime directory is gone or empty when $round" "" "$(compgen -G "$(telemetry_socket)" || true)"
done

needs control dataplane
ok "both are up again while shoppers go on asking"
until_true 60 bash -c "tail -n 1 '$LOGS/shoppers-end.log' | jq -e '.settled != false'"
kill -USR1 "$(proc_pid shoppers)"
proc_wait shoppers || fail "every shopper is answered in the end" "$(tail -n 1 "$LOGS/shoppers-end.log")"
expect_history "$sale" "$LAB_DIR/history-$sale.jsonl"
expect_invariants "$sale"
