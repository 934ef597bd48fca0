# build/bench/relay.json as the table of docs/benchmarks.md.
def row: "| " + (map(tostring) | join(" | ")) + " |";
"\(.cpus) cores, 5 ms in each direction; medians of \(.pairs) interleaved pairs",
"", (["line", "sender", "", "way", "direct Mbit/s", "by the gateway", "ratio", "pairs"] | row), "|---|---|---|---|---:|---:|---:|---|",
(.transfers[] | [.line, .congestion, .family, .way, .direct_mbit_s, .gateway_mbit_s, .ratio, (.ratios | map(tostring) | join(" "))] | row),
"", "all pairs of the clean line: \(.clean_ratio); of the lossy line: \(.lossy_ratio) (wanted: \(.wanted_ratio))"
