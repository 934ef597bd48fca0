# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A private Redis on a unix socket: nothing on disk, no port, not as root. Sourced after process.sh, which records it.

redis_socket() { printf '%s/redis/redis.sock' "$LAB_STATE"; }

# redis_start LOG: its directory is under /run, which an unprivileged user can reach wherever this tree stands.
redis_start() {
    local user=nobody tries=0
    if id redis >/dev/null 2>&1; then user=redis; fi
    install -d -m 700 -o "$user" "$LAB_STATE/redis"
    proc_start redis "$1" setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups \
        redis-server --port 0 --unixsocket "$(redis_socket)" --unixsocketperm 700 --save '' --appendonly no --dir /
    until redis-cli -s "$(redis_socket)" ping >/dev/null 2>&1; do
        if ((++tries > 100)) || ! proc_alive redis; then return 1; fi
        sleep 0.05
    done
}
