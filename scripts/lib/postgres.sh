# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A private PostgreSQL in a directory of the caller's choice, for tests, benches and the demo. Reached only by a
# unix socket in a directory that is closed to others (so `trust` is safe), durable like a real one (fsync on), and
# never run as root. Knows its own instance by the pid file and the postmaster's working directory, and touches no other.
#
#   pg_start DIR [NAME=VALUE…]   initdb if new, clean up after a killed predecessor, start, database `dropgate`
#   pg_dsn   DIR [USER]          connection string (default user: postgres, the superuser)
#   pg_stop  DIR                 fast shutdown; the data stays
#   pg_kill9 DIR                 SIGKILL to the postmaster and all its processes: a crash
#   pg_drop  DIR                 stop and remove the data
#
# Two or more of them as a primary and its standbys:
#
#   pg_standby DIR OF NAME [NAME=VALUE…]   a copy of OF that follows it under the application name NAME, and runs
#   pg_rejoin  DIR OF NAME [NAME=VALUE…]   what was a primary of the same lineage becomes a standby of OF (pg_rewind)
#   pg_freeze  DIR                         SIGSTOP to all its processes: connections stay, nothing is answered
#   pg_thaw    DIR                         … and on again

pg__say() { printf 'postgres: %s\n' "$*" >&2; }

# The newest installed server's programs: Debian keeps them out of PATH.
pg__bin()
{
    local dir
    dir=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$dir" ] && command -v initdb >/dev/null; then dir=$(dirname "$(command -v initdb)"); fi
    if [ -z "$dir" ]; then dir=$(pg_config --bindir 2>/dev/null || true); fi
    if [ ! -x "$dir/initdb" ]; then pg__say "no PostgreSQL server found: run scripts/setup"; return 1; fi
    printf '%s\n' "$dir"
}

pg__user() { if id -u postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi; }

# Runs a command as the unprivileged user, from / and without the caller's PG* variables.
pg__as()
{
    local clean=(env -u PGDATA -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGSERVICE -u PGOPTIONS LC_ALL=C) user
    if [ "$(id -u)" -ne 0 ]; then (cd / && "${clean[@]}" "$@"); return; fi
    user=$(pg__user)
    if command -v setpriv >/dev/null; then
        (cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups -- "${clean[@]}" HOME=/ "$@")
    else
        (cd / && runuser -u "$user" -- "${clean[@]}" HOME=/ "$@")
    fi
}

# Where the instance of DIR really lives: DIR, or the temporary directory that DIR/home links to.
pg__home()
{
    local dir
    dir=$(realpath -m -- "$1")
    if [ -L "$dir/home" ]; then readlink "$dir/home"; else printf '%s\n' "$dir"; fi
}

# Makes the home usable by the unprivileged user. A directory under /root is closed to it, and a socket's path
# may have 107 bytes at most: then a temporary directory takes its place.
pg__prepare()
{
    local dir temporary
    mkdir -p -- "$1"
    dir=$(realpath -- "$1")
    if [ -L "$dir/home" ] && [ -d "$dir/home/" ]; then return; fi
    rm -f -- "$dir/home"
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg__user):" "$dir"; fi
    chmod 700 "$dir"
    if [ ${#dir} -le 90 ] && pg__as test -w "$dir" -a -x "$dir" 2>/dev/null; then return; fi
    temporary=$(mktemp -d "${TMPDIR:-/tmp}/dropgate-postgres.XXXXXX")
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg__user):" "$temporary"; fi
    ln -s "$temporary" "$dir/home"
}

# The running postmaster's pid, if there is one: the pid file's first line, and that process's working directory is
# this data directory (a pid is soon reused by somebody else).
pg__pid()
{
    local data pid
    data=$(pg__home "$1")/data
    [ -r "$data/postmaster.pid" ] || return 1
    pid=$(head -n 1 "$data/postmaster.pid")
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(realpath -- "$data")" ] || return 1
    printf '%s\n' "$pid"
}

# True while a process of this instance lives: orphans of a killed postmaster keep its shared memory for a moment.
pg__busy()
{
    local data
    data=$(realpath -- "$(pg__home "$1")/data")
    grep -qxF -- "$data" < <(readlink /proc/[0-9]*/cwd 2>/dev/null)
}

pg__configure()
{
    local home=$1 setting
    shift
    {
        echo "# written by scripts/lib/postgres.sh at every start"
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$home'"
        echo "port = 5432"
        echo "max_connections = 200"
        echo "shared_buffers = 256MB"
        echo "max_wal_size = 4GB"
        echo "fsync = on"
        echo "synchronous_commit = on"
        echo "full_page_writes = on"
        echo "wal_log_hints = on"
        echo "log_line_prefix = '%m [%p] %u '"
        echo "timezone = 'UTC'"
        for setting in "$@"; do echo "${setting%%=*} = '${setting#*=}'"; done
    } | pg__as tee "$home/data/postgresql.conf" >/dev/null
}

# initdb aside and move: a run killed half-way leaves nothing that looks like a cluster.
pg__initialise()
{
    local home=$1 bin=$2
    pg__as rm -rf "$home/data.new"
    pg__as "$bin/initdb" -D "$home/data.new" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >/dev/null
    pg__as mv "$home/data.new" "$home/data"
}

pg_start()
{
    local dir=$1 home bin tries
    shift
    bin=$(pg__bin) || return 1
    pg__prepare "$dir" || return 1
    home=$(pg__home "$dir")
    if [ ! -e "$home/data/PG_VERSION" ]; then pg__initialise "$home" "$bin" || return 1; fi
    if pg__pid "$dir" >/dev/null; then pg_stop "$dir"; fi
    pg__configure "$home" "$@"
    for tries in $(seq 1 100); do
        if ! pg__busy "$dir" && pg__as "$bin/pg_ctl" start -D "$home/data" -l "$home/postgres.log" -w -t 60 </dev/null >/dev/null 2>&1; then
            break
        fi
        if [ "$tries" -eq 100 ]; then
            pg__say "does not start: the last lines of $home/postgres.log:"
            tail -n 5 "$home/postgres.log" >&2 || true
            return 1
        fi
        sleep 0.1
    done
    if [ -z "$(psql -XAtqd "$(pg_dsn "$dir") dbname=postgres" -c "select 1 from pg_database where datname = 'dropgate'")" ]; then
        psql -Xqd "$(pg_dsn "$dir") dbname=postgres" -c 'create database dropgate'
    fi
}

pg_dsn() { printf 'host=%s port=5432 dbname=dropgate user=%s\n' "$(pg__home "$1")" "${2:-postgres}"; }

pg_stop()
{
    local home bin
    home=$(pg__home "$1")
    pg__pid "$1" >/dev/null || return 0
    pg_thaw "$1" 2>/dev/null || true
    bin=$(pg__bin)
    pg__as "$bin/pg_ctl" stop -D "$home/data" -m fast -w -t 30 >/dev/null 2>&1 ||
        pg__as "$bin/pg_ctl" stop -D "$home/data" -m immediate -w -t 30 >/dev/null 2>&1 || pg_kill9 "$1"
}

pg_kill9()
{
    local pid
    pid=$(pg__pid "$1") || { pg__say "nothing runs in $1"; return 1; }
    # shellcheck disable=SC2046 # one argument per pid
    kill -9 "$pid" $(ps -o pid= --ppid "$pid") 2>/dev/null || true
}

pg_drop()
{
    local dir home
    dir=$(realpath -m -- "$1")
    [ -d "$dir" ] || return 0
    pg_stop "$dir"
    home=$(pg__home "$dir")
    rm -rf -- "${home:?}/data" "$home/data.new" "$home/postgres.log"
    if [ -L "$dir/home" ]; then rm -rf -- "${home:?}" "$dir/home"; fi
    rmdir --ignore-fail-on-non-empty "$dir"
}

# Every process of the instance: the postmaster, then its children.
pg__processes()
{
    local pid
    pid=$(pg__pid "$1") || { pg__say "nothing runs in $1"; return 1; }
    # shellcheck disable=SC2046 # one word per pid
    echo "$pid" $(ps -o pid= --ppid "$pid")
}

# The postmaster first, so that it starts nothing anew meanwhile.
# shellcheck disable=SC2046
pg_freeze() { kill -STOP $(pg__processes "$1"); }
# shellcheck disable=SC2046
pg_thaw() { kill -CONT $(pg__processes "$1"); }

pg_standby()
{
    local dir=$1 of=$2 name=$3 home bin
    shift 3
    bin=$(pg__bin) || return 1
    pg__prepare "$dir" || return 1
    home=$(pg__home "$dir")
    pg__as rm -rf "$home/data.new"
    pg__as "$bin/pg_basebackup" -D "$home/data.new" -R -X stream -c fast --no-sync \
        -d "host=$(pg__home "$of") port=5432 user=postgres application_name=$name" || return 1
    pg__as mv "$home/data.new" "$home/data"
    pg_start "$dir" "$@"
}

# As docs/failover.md says to do it. A cluster that crashed recovers first: pg_rewind does that itself.
pg_rejoin()
{
    local dir=$1 of=$2 name=$3 home bin
    shift 3
    bin=$(pg__bin) || return 1
    home=$(pg__home "$dir")
    pg_stop "$dir"
    pg__as "$bin/pg_rewind" --target-pgdata="$home/data" --write-recovery-conf --no-sync \
        --source-server="host=$(pg__home "$of") port=5432 user=postgres dbname=postgres application_name=$name" || return 1
    pg_start "$dir" "$@"
}
