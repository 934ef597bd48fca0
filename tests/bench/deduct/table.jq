# build/bench/deduct.json as the tables of docs/benchmarks.md.
def row: "| " + (map(tostring) | join(" | ")) + " |";
"\(.machine.cpus) cores, \(.machine.memory), \(.machine.fs), PostgreSQL \(.machine.server), fsync \(.machine.fsync), synchronous_commit \(.machine.commit); medians of \(.rounds) rounds of \(.seconds) s",
"", (["recipe", "clients", "statements/s", "grants/s"] | row), "|---|---:|---:|---:|",
(.recipes | sort_by(.name, .clients)[] | [.name, .clients, (.statements_per_s | round), (.grants_per_s | round)] | row),
"", (["batch", "connections × outstanding", "batches/s", "grants/s", "µs/grant", "p50 ms", "p99 ms"] | row), "|---|---:|---:|---:|---:|---:|---:|",
(.outstanding as $all | .batches | sort_by(.mix == "crowd", .connections, .cap, .name)[]
 | ["≤ \(.cap)" + (if .mix == "crowd" then ", crowd" else "" end) + (if .headline then " (as the service)" else "" end)
    + ({batch: "", sketch: ": sketch", sketch_on_ledger: ": sketch on the ledger"}[.name]),
    "\(.connections) × \($all / .connections)", (.statements_per_s | round), (.grants_per_s | round), .cpu_us_per_grant, .p50_ms, .p99_ms] | row),
"", "row lock, best: \(.row_lock_figure | round)/s; batch: \(.batch_figure | round)/s = \(.ratio) times (wanted: \(.wanted_ratio))",
"batch to sketch at 128: \(.to_sketch.rate) times the grants/s, \(.to_sketch.cpu) times the grants per processor second"
