# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A ledger of two clusters, for the scenarios about failover: `a` and `b`, one of them the primary, the other its
# synchronous standby. Sourced after lib.sh.

CLUSTERS=$LAB_DIR/failover
TIMELINE_FILE=$CLUSTERS/timeline
PRIMARY=a STANDBY=b
# Nothing but the service and the scenario writes: an xid that an old primary gives away is seen. Processes are killed here,
# not machines: what the kernel was given survives, so fsync would only make the scenario wait for the disk.
SETTINGS=(shared_buffers=64MB autovacuum=off wal_retrieve_retry_interval=200ms checkpoint_timeout=1h wal_keep_size=512MB fsync=off)

cluster() { printf '%s/%s' "$CLUSTERS" "$1"; }
ask_cluster() { psql -XAtqw -v ON_ERROR_STOP=1 -d "$(pg_dsn "$(cluster "$1")")" -c "$2"; }

clusters_drop() {
    proc_stop control
    pg_drop "$(cluster a)"
    pg_drop "$(cluster b)"
    rm -rf "$CLUSTERS"
}

# clusters_start: a is the primary, b follows it, and a waits for b.
clusters_start() {
    clusters_drop
    mkdir -p "$CLUSTERS"
    pg_start "$(cluster a)" "${SETTINGS[@]}" &&
        "$ROOT/scripts/migrate" "$(pg_dsn "$(cluster a)")" >"$LOGS/migrate-failover.log" 2>&1 &&
        pg_standby "$(cluster b)" "$(cluster a)" b "${SETTINGS[@]}" || die "two clusters cannot be started"
    LEDGER=$(cluster a)
    LEDGER_DSN="host=$(pg__home "$(cluster a)"),$(pg__home "$(cluster b)") dbname=dropgate user=dropgate_service"
    synchronous
}

# synchronous: the primary acknowledges only what its standby has; returns when it does.
synchronous() {
    ask_cluster "$PRIMARY" "alter system set synchronous_standby_names = '$STANDBY'"
    ask_cluster "$PRIMARY" "select pg_reload_conf()" >/dev/null
    until_true 30 is_synchronous || fail "$STANDBY follows $PRIMARY synchronously"
}
is_synchronous() { [[ $(ask_cluster "$PRIMARY" "select sync_state from pg_stat_replication where application_name = '$STANDBY'") == sync ]]; }

# promote [OPTION…]: by the script that operators use; then the roles are changed.
promote() {
    "$ROOT/scripts/promote" --standby "$STANDBY=$(pg_dsn "$(cluster "$STANDBY")")" \
        --primary "$(pg_dsn "$(cluster "$PRIMARY")")" "$@" >>"$LOGS/promote.log" 2>&1 || {
        fail "$STANDBY is promoted" "$(tail -n 3 "$LOGS/promote.log")"
        return 1
    }
    read -r PRIMARY STANDBY <<<"$STANDBY $PRIMARY"
    LEDGER=$(cluster "$PRIMARY")
}

# The old primary comes back as it was, which is wrong, and is what a machine does that was switched on again.
return_old_primary() { pg_start "$(cluster "$STANDBY")" "${SETTINGS[@]}"; }

# How many transactions that wrote anything a cluster has begun.
written() { ask_cluster "$1" "select txid_snapshot_xmax(txid_current_snapshot())"; }

# rejoin: what was the primary becomes the synchronous standby. promote has made the checkpoint that pg_rewind needs.
rejoin() {
    pg_rejoin "$(cluster "$STANDBY")" "$(cluster "$PRIMARY")" "$STANDBY" "${SETTINGS[@]}" >>"$LOGS/rejoin.log" 2>&1 ||
        die "the old primary is not rewound: $(tail -n 1 "$LOGS/rejoin.log")"
    synchronous
}

# events_token CONF: appends a token for reading events to CONF; it is in the file EVENTS_TOKEN.
events_token() {
    EVENTS_TOKEN=$CLUSTERS/events.token
    (umask 077 && echo "the-token-of-the-laboratory-$RANDOM" >"$EVENTS_TOKEN")
    printf '[events]\ntoken_file = %s\n' "$EVENTS_TOKEN" >>"$1"
}

# control_conf: the service of the laboratory with both clusters, and a memory.
control_conf() {
    lab_config control.conf "$LAB_DIR/control-failover.conf"
    sed -i -e "s|^dsn = .*|&\ntimeline_file = $TIMELINE_FILE|" "$LAB_DIR/control-failover.conf"
    events_token "$LAB_DIR/control-failover.conf"
    printf '%s' "$LAB_DIR/control-failover.conf"
}
