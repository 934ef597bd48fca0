/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The checks err on the side of letting through: the endpoints check again, and know more. What
 * every segment goes through is `inline`, a hint to a build that compiles all as a whole. */
#include "dataplane/tcp/window.h"

#include "dataplane/net/packet.h"

/* An old duplicate may acknowledge that far back, at least (the largest window without scaling). */
enum { ACK_BACK_LEAST = 66000 };

static uint32_t segment_end(const struct window_segment *s)
{
    return s->seq + s->length + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
}

/* Timestamps older than the last one in order: an old duplicate (RFC 7323 section 5.2). RST is
 * exempt. A TSval that is 24 days old would have to be forgotten (section 5.5), as the clock's sign
 * has turned by then; no flow is silent for that long: [tcp] idle is 24 h at most. */
static bool paws(const struct side *from, const struct window_segment *s)
{
    return s->timestamps && !(s->flags & TCP_RST) && (int32_t)(s->tsval - from->ts_recent) < 0;
}

inline enum verdict window_check(const struct side *from, const struct side *to,
                                 const struct window_segment *s)
{
    uint32_t end = segment_end(s);
    uint32_t back = to->window > ACK_BACK_LEAST ? to->window : ACK_BACK_LEAST;
    /* One byte beyond is a zero-window probe. */
    if (seq_before(from->limit + 1, end) || seq_before(end, to->acked - back))
        return VERDICT_OUT_OF_WINDOW;
    if (s->flags & TCP_ACK) {
        back = from->window > ACK_BACK_LEAST ? from->window : ACK_BACK_LEAST;
        if (seq_before(to->end, s->ack))
            return VERDICT_ACK_UNSENT;
        if (seq_before(s->ack, from->acked - back))
            return VERDICT_OUT_OF_WINDOW;
    }
    return paws(from, s) ? VERDICT_PAWS : VERDICT_FORWARDED;
}

enum segment_class window_class(const struct side *from, const struct side *to,
                                const struct window_segment *s, bool to_fin)
{
    bool acks_fin = to_fin && (s->flags & TCP_ACK) && !seq_before(s->ack, to->fin);
    if (s->flags & TCP_RST)
        return s->seq == to->acked || s->seq == from->end ? SEGMENT_RST_EXACT : SEGMENT_RST_WINDOW;
    if (s->flags & TCP_SYN)
        return s->flags & TCP_ACK ? SEGMENT_SYN_ACK : SEGMENT_SYN;
    if (s->flags & TCP_FIN)
        return acks_fin ? SEGMENT_FIN_ACKS_FIN : SEGMENT_FIN;
    return acks_fin ? SEGMENT_ACKS_FIN : SEGMENT_DATA;
}

bool window_newest(const struct side *from, const struct window_segment *s, bool timestamps,
                   uint32_t newest)
{
    if (seq_before(s->ack, from->acked))
        return false;
    return !timestamps || (s->timestamps && !seq_before(s->tsval, newest));
}

inline void window_note(struct side *from, struct side *to, const struct window_segment *s)
{
    uint32_t end = segment_end(s);
    if (s->flags & TCP_RST)
        return;
    /* Before acked moves: in order means at or before what the receiver has acknowledged (RFC 7323
     * section 4.3). */
    if (s->timestamps && !seq_before(to->acked, s->seq))
        from->ts_recent = s->tsval;
    if (seq_before(from->end, end))
        from->end = end;
    if (s->flags & TCP_FIN)
        from->fin = end;
    if (!(s->flags & TCP_ACK))
        return;
    if (seq_before(from->acked, s->ack))
        from->acked = s->ack;
    if (from->window < s->window)
        from->window = s->window;
    uint32_t limit = s->ack + s->window;
    if (seq_before(to->limit, limit))
        to->limit = limit;
}
