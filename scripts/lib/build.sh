# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The builds: release (demo, bench), sanitize (tests), fuzz, and faults, which alone has failpoints. Sourced after common.sh and process.sh.

# build_tree NAME [TARGET…]: configures build/NAME when it is new (or its configuration was cut short) and builds it.
build_tree() {
    local name=$1 dir=$ROOT/build/$1 compiler=gcc options=(--buildtype=debugoptimized -Db_ndebug=true)
    shift
    case $name in
    sanitize) options=(--buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false) ;;
    faults) options=(--buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dfailpoints=true) ;;
    fuzz) compiler=clang-14 options=(--buildtype=debugoptimized -Dfuzz=true -Db_lundef=false) ;;
    esac
    if [[ ! -e $dir/build.ninja ]]; then
        rm -rf "$dir"
        step "configure build/$name" "$ROOT/build/log/configure-$name.log" \
            env CC="$compiler" meson setup "$dir" "$ROOT" "${options[@]}"
    fi
    step "build build/$name" "$ROOT/build/log/build-$name.log" ninja -C "$dir" "$@"
}
