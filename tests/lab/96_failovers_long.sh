# SPDX-License-Identifier: BSD-3-Clause
# limit: 900
# long: yes
# Ten failovers in a row, each in the middle of a sale, each followed by the old primary's return and rejoining.
FAILOVERS=10
. "${0%/*}/61_failover.sh"
