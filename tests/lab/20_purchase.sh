# SPDX-License-Identifier: BSD-3-Clause
# A purchase goes through, over IPv4 and IPv6: the first milestone, and still the first thing to look at.
. "${0%/*}/lib.sh"
needs control dataplane
sale=$(new_sale 2)

opened=$(verdict opened) cookies=$(verdict syn_cookie)
first=$(reserve "$VIP4" "$sale" ann key-1)
expect_match "a purchase over IPv4 is granted" '^201 .*"id"' "$first"
expect_match "a purchase over IPv6 is granted" '^201 .*"id"' "$(reserve "[$VIP6]" "$sale" bob key-1)"
expect_equal "the same key gets the same bytes" "$first" "$(reserve "[$VIP6]" "$sale" ann key-1)"
expect_match "the third shopper finds no stock" '^409 .*sold-out' "$(reserve "$VIP4" "$sale" cid key-1)"
expect_equal "each connection was answered by a cookie" 4 $(($(verdict syn_cookie) - cookies))
expect_equal "and opened by its first request" 4 $(($(verdict opened) - opened))

id=$(jq -r .id <<<"${first#* }")
read_it() { client curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "X-Dropgate-User: $1" "${@:2}" "http://$VIP4/v1/reservations/$id"; }
expect_equal "its owner can read it" 200 "$(read_it ann)"
expect_equal "nobody else can" 404 "$(read_it bob)"
expect_equal "its owner cancels it" 204 "$(read_it ann -X DELETE)"
expect_match "and the stock is there again" '^201 ' "$(reserve "[$VIP6]" "$sale" cid key-1)"

requests=$(printf 'http://%s/v1/sales/%s ' "$VIP4" "$sale" "$VIP4" "$sale" "$VIP4" "$sale")
opened=$(verdict opened)
# shellcheck disable=SC2086
codes=$(client curl -sS -m 10 -o /dev/null -o /dev/null -o /dev/null -w '%{http_code} ' $requests)
expect_equal "three requests are answered" "200 200 200 " "$codes"
expect_equal "on one kept-alive connection" 1 $(($(verdict opened) - opened))
expect_invariants "$sale"
