# SPDX-License-Identifier: BSD-3-Clause
# Shoppers by signed tokens (identity = jwt): openssl signs, curl sends, and the reservation belongs to the token's subject. Keys are
# rotated by a restart; what is wrong with a token is said in the challenge.
. "${0%/*}/lib.sh"
needs postgres
keys=$LAB_DIR/token-keys
rm -rf "$keys"
mkdir -m 700 "$keys"
(umask 077; openssl rand -base64 48 >"$keys/october"; openssl genrsa -out "$keys/november" 2048 2>/dev/null)
openssl rsa -in "$keys/november" -pubout -out "$keys/november.pem" 2>/dev/null
cleanup() { proc_stop control-tokens; }

api4=http://198.18.128.2:8091 api6='http://[2001:db8:0:1::2]:8091'
api=$api4
up() { server curl -fsS -m 2 -o /dev/null "$api4/readyz"; }
start() {
    proc_stop control-tokens
    proc_start control-tokens "$(service_log control-tokens)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/control_tokens.conf"
    expect "the service is ready" until_true 20 up
}
lab_config control_tokens.conf "$LAB_DIR/control_tokens.conf"
sed -i "s|@KEYS@|$keys|" "$LAB_DIR/control_tokens.conf"
start

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d =; }
# token KEY CLAIMS: signed with october (HS256) or november (RS256)
token() {
    local algorithm=HS256 text
    [[ $1 == october ]] || algorithm=RS256
    text=$(printf '{"alg":"%s","kid":"2026-%s"}' $algorithm "$([[ $1 == october ]] && echo 10 || echo 11)" | base64url).$(base64url <<<"$2")
    if [[ $1 == october ]]; then
        printf '%s.%s' "$text" "$(printf %s "$text" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(tr -d '\n' <"$keys/october" | od -An -v -tx1 | tr -d ' \n')" -binary | base64url)"
    else
        printf '%s.%s' "$text" "$(printf %s "$text" | openssl dgst -sha256 -sign "$keys/november" -binary | base64url)"
    fi
}
claims() { # claims SUBJECT [SECONDS]
    printf '{"iss":"https://login.shop.example","aud":["sale"],"sub":"%s","exp":%d}' "$1" $(($(date +%s) + ${2:-60}))
}
# call TOKEN METHOD PATH [CURL-OPTION…]: "STATUS CHALLENGE BODY"
call() {
    server curl -g -sS -m 10 -w ' %{http_code} %header{www-authenticate}' -X "$2" ${1:+-H "Authorization: Bearer $1"} "${@:4}" "$api$3" 2>&1
}
buy() { call "$1" POST "/v1/sales/$sale/reservations" -H "Idempotency-Key: $2" -H 'Content-Type: application/json' -d '{"quantity":1}' "${@:3}"; }

sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
sql -o /dev/null -c "select dropgate.item_put('tokens', 'Thing', ''); select dropgate.sale_put($sale, 'tokens', 10, 1, '10 minutes', 4900, 'EUR', clock_timestamp())"
known() { server curl -fsS -m 2 -o /dev/null "$api4/v1/sales/$sale"; }
expect "its sale is known" until_true 5 known

ann=$(buy "$(token october "$(claims 'ann@shop')")" k1)
expect_match "a shopper with a token of HS256 buys" '^\{"id".* 201 ' "$ann"
api=$api6
expect_match "one of RS256 over IPv6 as well" '^\{"id".* 201 ' "$(buy "$(token november "$(claims bob)")" k1)"
expect_equal "the same subject is the same user, whoever signed" "$ann" "$(buy "$(token november "$(claims 'ann@shop')")" k1)"
api=$api4
expect_equal "the ledger knows them by their subject" "ann@shop,bob" "$(sql -c "select string_agg(user_id, ',' order by user_id) from dropgate.reservation where sale = $sale")"
id=$(jq -r .id <<<"${ann%%\}*}}")
expect_match "reading wants the owner's token" '"state":"held".* 200 ' "$(call "$(token october "$(claims 'ann@shop')")" GET "/v1/reservations/$id")"
expect_match "another one's finds nothing" 'no-such-reservation.* 404 ' "$(call "$(token october "$(claims bob)")" GET "/v1/reservations/$id")"

expect_match "without a token there is a challenge" 'identity-required.* 401 Bearer realm="reservations"$' "$(buy '' k1)"
invalid() { # invalid "sentence" TOKEN REASON
    expect_match "$1" "invalid-token.*$3.* 401 Bearer realm=\"reservations\", error=\"invalid_token\", error_description=\".*$3" "$(buy "$2" k9)"
}
invalid "an expired token is refused, and says so" "$(token october "$(claims eve -31)")" expired
good=$(token october "$(claims eve)")
invalid "a changed one is" "${good%.*}.$(base64url <<<nonsense)" signature
invalid "one for another shop is" "$(token october "$(claims eve | sed 's/"sale"/"mail"/')")" audience
invalid "one of another issuer is" "$(token october "$(claims eve | sed 's/login/evil/')")" issuer
invalid "one without a signature is" "$(printf '{"alg":"none"}' | base64url).$(claims eve | base64url).AA" 'No key'
invalid "one signed by HMAC with the public key is" "$(cp "$keys/october" "$keys/kept"; tr -d '\n' <"$keys/november.pem" >"$keys/october"; token october "$(claims eve)"; mv "$keys/kept" "$keys/october")" signature
expect_match "two tokens are refused" 'stands more than once.* 401 ' "$(buy "$good" k9 -H "Authorization: Bearer $good")"
expect_equal "and nothing was bought by any of them" 2 "$(sql -c "select count(*) from dropgate.reservation where sale = $sale")"

# --- rotation ---
sed -i '/^\[jwt 2026-10\]/,/^$/d' "$LAB_DIR/control_tokens.conf"
start
invalid "a key that was taken out signs no more" "$(token october "$(claims 'ann@shop')")" 'No key'
expect_equal "the other one goes on, and so do its purchases" "$ann" "$(buy "$(token november "$(claims 'ann@shop')")" k1)"
printf '\n[jwt short]\nalgorithm = HS256\nfile = %s\n' "$keys/november.pem" >>"$LAB_DIR/control_tokens.conf"
expect_match "a secret that others may read is refused at the start" "november.pem: others than its owner have access" \
    "$(server timeout 10 "$CONTROL" -c "$LAB_DIR/control_tokens.conf" 2>&1)"
