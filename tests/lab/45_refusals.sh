# SPDX-License-Identifier: BSD-3-Clause
# A refused client reads its refusal, whole, behind whole answers to whatever it asked before: curl, a browser, wrk and a client
# that pipelines, sends in pieces and does not listen. Nothing of what is refused reaches the backend or leaves a flow.
# limit: 150
. "${0%/*}/lib.sh"
cleanup() { relay_out; proc_stop dataplane; } # the next scenario starts it with its usual configuration
needs control
sale=$(new_sale 1)
lab_config dropgate.conf "$LAB_DIR/refusals.conf"
printf '\n[rule no]\npath = /v1/items/no\nstate = sold_out\n' >>"$LAB_DIR/refusals.conf"
start_dataplane "$LAB_DIR/refusals.conf" || { fail "the gateway starts"; exit 1; }
yes=/v1/items/item-$sale no=/v1/items/no
count() { telemetry /dropgate/tables | jq -er .flows; }

# --- in every way ---
wanted='pipelined 200 409
pipelined_deep 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 409
pipelined_apart 200 409
kept_alive 200 409
head_in_pieces 200 409
first_head_in_pieces 409
ends_with_it 200 409
small_body 409
large_body 409
large_body_kept_alive 200 409
expects 409'
for address in "$VIP4" "$VIP6"; do
    expect_equal "every answer is whole, and the refusal the last one, at $address" "$wanted" \
        "$(client "$ROOT/tests/lab/refusals.py" "$address" 80 "$yes" "$no")"
done
relay_in --seed 45 --drop 2 --duplicate 1 --reorder 2
expect_equal "on a line that loses some, too" "$wanted" "$(client "$ROOT/tests/lab/refusals.py" "$VIP4" 80 "$yes" "$no")"
relay_out

# --- curl ---
get() { client curl -sS -m 10 "$@"; }
opened=$(verdict opened)
expect_equal "on one connection curl gets what it may, then the refusal, then what it may on another" "200 409 200 " \
    "$(get -o /dev/null -o /dev/null -o /dev/null -w '%{http_code} ' "http://$VIP4$yes" "http://$VIP4$no" "http://$VIP4$yes")"
expect_equal "which are two connections" 2 $(($(verdict opened) - opened))
opened=$(verdict opened)
expect_match "curl is told why" '^409 application/problem.json .*problems/sold-out' \
    "$(get -w '\n' -o "$LAB_DIR/refused" -w '%{http_code} %{content_type} ' "http://$VIP4$no"; cat "$LAB_DIR/refused")"
expect_equal "HEAD is told as much" 409 "$(get -I -o /dev/null -w '%{http_code}' "http://[$VIP6]$no")"
head -c 3000000 /dev/zero >"$LAB_DIR/zeros"
expect_equal "an upload is told before it is sent" 409 \
    "$(get -o /dev/null -w '%{http_code}' -T "$LAB_DIR/zeros" "http://$VIP4$no")"
expect_equal "none of them was opened" 0 $(($(verdict opened) - opened))

# --- a browser ---
cat >"$LAB_DIR/refusals.html" <<HTML
<script>
(async () => {
  const said = [];
  for (const path of ["$yes", "$yes", "$no", "$yes"])
    said.push((await fetch("http://$VIP4" + path, {cache: "no-store"})).status);
  document.title = said.join(" ");
})();
</script>
HTML
chromium() {
    client timeout 60 chromium-headless-shell --no-sandbox --disable-gpu --user-data-dir="$LAB_DIR/chromium" \
        --disable-web-security --virtual-time-budget=8000 --dump-dom "$1" 2>"$LOGS/chromium.log" || true
}
expect_match "Chromium shows the page" '<h1>Sold out</h1>' "$(chromium "http://$VIP4$no")"
expect_match "and goes on behind a refusal on its connection" '<title>200 200 409 200</title>' \
    "$(chromium "file://$LAB_DIR/refusals.html")"
rm -rf "$LAB_DIR/chromium"

# --- many ---
cat >"$LAB_DIR/refusals.lua" <<LUA
local yes, no = wrk.format("GET", "$yes"), nil
init = function() yes = wrk.format("GET", "$yes") no = wrk.format("GET", "$no") end
request = function() return yes .. no end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
good, refused, other = 0, 0, 0
response = function(status)
    if status == 200 then good = good + 1 elseif status == 409 then refused = refused + 1 else other = other + 1 end
end
done = function()
    local g, r, o = 0, 0, 0
    for _, t in ipairs(threads) do g, r, o = g + t:get("good"), r + t:get("refused"), o + t:get("other") end
    io.write(string.format("RESULT %d %d %d\n", g, r, o))
end
LUA
report=$(client wrk -t1 -c20 -d2s -s "$LAB_DIR/refusals.lua" "http://$VIP4")
read -r _ good refused other < <(grep RESULT <<<"$report")
expect_at_least "wrk reads refusals behind answers" 200 "${refused:-0}"
expect_at_most "an answer before each of them" 20 $((good - refused))
expect_equal "and nothing else" 0 "${other:-none}"
before=$(verdict rule_sold_out) opened=$(verdict opened)
report=$(client wrk -t1 -c20 -d2s "http://$VIP4$no")
refused=$(($(verdict rule_sold_out) - before))
expect_at_least "alone, they are answered without a flow" 1000 "$refused"
expect_equal "and nothing is opened" 0 $(($(verdict opened) - opened))
none_left() { [[ $(count) == 0 ]]; }
expect "no flow is left" until_true 30 none_left
