/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The table. A cell that is not written is {ACTION_DROP, same state}; states_next fills in "same
 * state". */
#include "dataplane/tcp/states.h"

/* clang-format off */
#define FORWARD(next) {ACTION_FORWARD, FLOW_##next}
#define STAY          {ACTION_FORWARD, FLOW_FREE} /* next = FREE stands for "the same state" */
#define END           {ACTION_RESET, FLOW_FREE}
#define COOKIE        {ACTION_COOKIE, FLOW_FREE}
#define TAKE          {ACTION_TAKE, FLOW_FREE}

/* In every state from established on: a SYN of the client gets a cookie, since the client may have rebooted. A
 * SYN-ACK of the backend can only be a repetition of the one that opened the flow (its sequence number has been
 * checked): the caller acknowledges it, the client has nothing to do with it. */
#define ALWAYS_CLIENT \
    [SEGMENT_SYN] = COOKIE, [SEGMENT_RST_EXACT] = END, [SEGMENT_RST_WINDOW] = STAY, [SEGMENT_DATA] = STAY
#define ALWAYS_BACKEND \
    [SEGMENT_SYN_ACK] = {ACTION_REPEAT, FLOW_FREE}, [SEGMENT_RST_EXACT] = END, [SEGMENT_RST_WINDOW] = STAY, [SEGMENT_DATA] = STAY

static const struct transition table[FLOW_STATES][DIRECTIONS][SEGMENT_CLASSES] = {
    [FLOW_READING] = {                                              /* a backend cannot know of it */
        [FROM_CLIENT] = {
            [SEGMENT_SYN]          = COOKIE,
            [SEGMENT_RST_EXACT]    = {ACTION_ABANDON, FLOW_FREE},
            [SEGMENT_FIN]          = {ACTION_HOLD, FLOW_READING},
            [SEGMENT_DATA]         = {ACTION_HOLD, FLOW_READING},
        },
    },
    [FLOW_OPENING] = {
        [FROM_CLIENT] = {
            [SEGMENT_SYN]          = COOKIE,
            [SEGMENT_RST_EXACT]    = {ACTION_ABANDON, FLOW_FREE},
            [SEGMENT_FIN]          = {ACTION_HOLD, FLOW_OPENING},
            [SEGMENT_DATA]         = {ACTION_HOLD, FLOW_OPENING},  /* also the held request sent again */
        },
        [FROM_BACKEND] = {
            [SEGMENT_SYN_ACK]      = {ACTION_OPENED, FLOW_ESTABLISHED},
            [SEGMENT_RST_EXACT]    = {ACTION_REFUSED, FLOW_FREE},
            [SEGMENT_FIN]          = {ACTION_STALE, FLOW_OPENING}, /* of an old connection on this tuple */
            [SEGMENT_DATA]         = {ACTION_STALE, FLOW_OPENING},
        },
    },
    [FLOW_ESTABLISHED] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,  [SEGMENT_FIN] = FORWARD(CLIENT_FIN) },
        [FROM_BACKEND] = { ALWAYS_BACKEND, [SEGMENT_FIN] = FORWARD(BACKEND_FIN) },
    },
    [FLOW_CLIENT_FIN] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,  [SEGMENT_FIN] = STAY },  /* sent again */
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN]     = FORWARD(CLIENT_FIN_ACKED),
            [SEGMENT_FIN]          = FORWARD(BOTH_FIN),             /* simultaneous close */
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_CLIENT_ACKED),
        },
    },
    [FLOW_CLIENT_FIN_ACKED] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,  [SEGMENT_FIN] = STAY },
        [FROM_BACKEND] = { ALWAYS_BACKEND,                          /* data after FIN: half-close */
            [SEGMENT_ACKS_FIN]     = STAY,
            [SEGMENT_FIN]          = FORWARD(BOTH_CLIENT_ACKED),    /* an old ACK number: still acknowledged */
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_CLIENT_ACKED),
        },
    },
    [FLOW_BACKEND_FIN] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN]     = FORWARD(BACKEND_FIN_ACKED),
            [SEGMENT_FIN]          = FORWARD(BOTH_FIN),
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_BACKEND_ACKED),
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND, [SEGMENT_FIN] = STAY },
    },
    [FLOW_BACKEND_FIN_ACKED] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN]     = STAY,
            [SEGMENT_FIN]          = FORWARD(BOTH_BACKEND_ACKED),
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_BACKEND_ACKED),
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND, [SEGMENT_FIN] = STAY },
    },
    [FLOW_BOTH_FIN] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN]     = FORWARD(BOTH_BACKEND_ACKED),
            [SEGMENT_FIN]          = STAY,
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_BACKEND_ACKED),
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN]     = FORWARD(BOTH_CLIENT_ACKED),
            [SEGMENT_FIN]          = STAY,
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(BOTH_CLIENT_ACKED),
        },
    },
    [FLOW_BOTH_CLIENT_ACKED] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN]     = FORWARD(CLOSED),
            [SEGMENT_FIN]          = STAY,
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(CLOSED),
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN] = STAY, [SEGMENT_FIN] = STAY, [SEGMENT_FIN_ACKS_FIN] = STAY,
        },
    },
    [FLOW_BOTH_BACKEND_ACKED] = {
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN] = STAY, [SEGMENT_FIN] = STAY, [SEGMENT_FIN_ACKS_FIN] = STAY,
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN]     = FORWARD(CLOSED),
            [SEGMENT_FIN]          = STAY,
            [SEGMENT_FIN_ACKS_FIN] = FORWARD(CLOSED),
        },
    },
    [FLOW_CLOSED] = {                                               /* what is sent again is answered by the ends */
        [FROM_CLIENT]  = { ALWAYS_CLIENT,
            [SEGMENT_ACKS_FIN] = STAY, [SEGMENT_FIN] = STAY, [SEGMENT_FIN_ACKS_FIN] = STAY,
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN] = STAY, [SEGMENT_FIN] = STAY, [SEGMENT_FIN_ACKS_FIN] = STAY,
        },
    },
    [FLOW_REFUSING] = {                                             /* the client's FIN is for us, ours with the backend */
        [FROM_CLIENT]  = {
            [SEGMENT_SYN]          = COOKIE,
            [SEGMENT_RST_EXACT]    = {ACTION_ABANDON, FLOW_FREE},
            [SEGMENT_DATA]         = TAKE,
            [SEGMENT_FIN]          = TAKE,
        },
        [FROM_BACKEND] = { ALWAYS_BACKEND,
            [SEGMENT_ACKS_FIN]     = STAY,
            [SEGMENT_FIN]          = {ACTION_REFUSE, FLOW_REFUSED},
            [SEGMENT_FIN_ACKS_FIN] = {ACTION_REFUSE, FLOW_REFUSED},
        },
    },
    [FLOW_REFUSED] = {
        [FROM_CLIENT]  = {
            [SEGMENT_SYN]          = COOKIE,
            [SEGMENT_RST_EXACT]    = {ACTION_ABANDON, FLOW_FREE},
            [SEGMENT_DATA]         = TAKE,
            [SEGMENT_FIN]          = TAKE,
        },
        [FROM_BACKEND] = {                                          /* it has ended: only what is sent again */
            [SEGMENT_RST_EXACT]    = TAKE,                          /* the end only if the client has not got all */
            [SEGMENT_DATA]         = TAKE,
            [SEGMENT_ACKS_FIN]     = TAKE,
            [SEGMENT_FIN]          = TAKE,
            [SEGMENT_FIN_ACKS_FIN] = TAKE,
        },
    },
};
/* clang-format on */

struct transition states_next(enum flow_state state, enum direction from,
                              enum segment_class segment)
{
    struct transition t = table[state][from][segment];
    if (t.next == FLOW_FREE && t.action != ACTION_RESET && t.action != ACTION_ABANDON &&
        t.action != ACTION_REFUSED)
        t.next = (uint8_t)state;
    return t;
}

const char *states_name(enum flow_state state)
{
    static const char *const names[FLOW_STATES] = {
        [FLOW_FREE] = "free",
        [FLOW_READING] = "reading",
        [FLOW_OPENING] = "opening",
        [FLOW_ESTABLISHED] = "established",
        [FLOW_CLIENT_FIN] = "client_fin",
        [FLOW_CLIENT_FIN_ACKED] = "client_fin_acked",
        [FLOW_BACKEND_FIN] = "backend_fin",
        [FLOW_BACKEND_FIN_ACKED] = "backend_fin_acked",
        [FLOW_BOTH_FIN] = "both_fin",
        [FLOW_BOTH_CLIENT_ACKED] = "both_client_acked",
        [FLOW_BOTH_BACKEND_ACKED] = "both_backend_acked",
        [FLOW_CLOSED] = "closed",
        [FLOW_REFUSING] = "refusing",
        [FLOW_REFUSED] = "refused",
    };
    return (unsigned)state < FLOW_STATES ? names[state] : "unknown";
}
