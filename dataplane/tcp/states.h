/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The life of a spliced connection as one table: state × direction × class of segment → action and
 * next state. The endpoints run TCP; the gateway only follows, so that it knows when a flow may go.
 * Window, PAWS and exact RST checks come before the table. Pure. */
#ifndef DROPGATE_DATAPLANE_TCP_STATES_H
#define DROPGATE_DATAPLANE_TCP_STATES_H

#include <stdbool.h>
#include <stdint.h>

enum flow_state {
    FLOW_FREE,    /* not in use */
    FLOW_READING, /* the request's head is not complete; no backend has been asked */
    FLOW_OPENING, /* our SYN is on its way to the backend; the request is held */
    FLOW_ESTABLISHED,
    FLOW_CLIENT_FIN,       /* the client sent FIN; the backend has not acknowledged it */
    FLOW_CLIENT_FIN_ACKED, /* … has; the backend may go on sending (half-close) */
    FLOW_BACKEND_FIN,
    FLOW_BACKEND_FIN_ACKED,
    FLOW_BOTH_FIN,           /* both sent FIN, neither is acknowledged (simultaneous close) */
    FLOW_BOTH_CLIENT_ACKED,  /* … the client's is */
    FLOW_BOTH_BACKEND_ACKED, /* … the backend's is */
    FLOW_CLOSED,             /* both acknowledged, or reset by the backend; kept a little for what
                                is sent again or asked */
    FLOW_REFUSING, /* a request was refused: the backend got our FIN in its place, and what it still
                      says goes on */
    FLOW_REFUSED,  /* the backend has sent its FIN, or there is none: the client gets the refusal */
    FLOW_STATES
};

enum direction { FROM_CLIENT, FROM_BACKEND, DIRECTIONS };

/** What a segment means for the state. "Acknowledges FIN" is about the other side's FIN. */
enum segment_class {
    SEGMENT_SYN,
    SEGMENT_SYN_ACK,
    SEGMENT_RST_EXACT,  /* at the receiver's next sequence number (RFC 5961 section 3) */
    SEGMENT_RST_WINDOW, /* elsewhere in its window: it will challenge, so the flow stays */
    SEGMENT_FIN,
    SEGMENT_FIN_ACKS_FIN,
    SEGMENT_ACKS_FIN,
    SEGMENT_DATA, /* data or ACK, and nothing of the above */
    SEGMENT_CLASSES
};

enum action {
    ACTION_DROP,    /* not allowed here */
    ACTION_FORWARD, /* translate and send on */
    ACTION_RESET,   /* send on, then forget the flow, if its client can take it */
    ACTION_COOKIE,  /* answer by a SYN cookie; the flow does not change: anyone can forge a SYN */
    ACTION_HOLD,    /* the backend is not there yet: keep what is new, to be sent to it */
    ACTION_ABANDON, /* the client gave up before the backend answered: reset the backend if it was
                       asked, forget */
    ACTION_OPENED,  /* the backend's SYN-ACK: complete, send what is held */
    ACTION_STALE, /* an ACK in answer to our SYN: an old connection there; RST it and send SYN again
                   */
    ACTION_REFUSED, /* the backend's RST in answer to our SYN: tell the client, forget */
    ACTION_TAKE,    /* meant for us: note it, acknowledge it, pass on only what is left of it */
    ACTION_REFUSE,  /* the backend has said all: the refusal takes the place of its FIN */
    ACTION_REPEAT,  /* the backend's SYN-ACK again: our ACK was lost; acknowledge it again */
    ACTIONS
};

struct transition {
    uint8_t action; /* enum action */
    uint8_t next;   /* enum flow_state */
};

/** What to do. All arguments must be in range. */
struct transition states_next(enum flow_state state, enum direction from,
                              enum segment_class segment);

/** Whether both ends speak to each other, or have. */
static inline bool states_open(enum flow_state state)
{
    return state >= FLOW_ESTABLISHED && state <= FLOW_CLOSED;
}

/** Whether that end has sent its FIN, in the states of an open flow. */
static inline bool states_client_ended(enum flow_state state)
{
    return state >= FLOW_CLIENT_FIN && state != FLOW_BACKEND_FIN && state != FLOW_BACKEND_FIN_ACKED;
}

static inline bool states_backend_ended(enum flow_state state)
{
    return state >= FLOW_BACKEND_FIN && state != FLOW_REFUSING;
}

const char *states_name(enum flow_state state);

#endif
