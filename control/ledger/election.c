/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A standby that has followed a promotion counts as a witness of it: its timeline rules the old
 * primary out even while the new one does not answer. */
#include "control/ledger/election.h"

bool election_learn(struct lineage *lineage, const struct sighting *seen, size_t count)
{
    bool risen = false;
    for (size_t i = 0; lineage->system && i < count; i++) {
        if (!seen[i].answered || seen[i].is.system != lineage->system ||
            seen[i].is.timeline <= lineage->timeline)
            continue;
        lineage->timeline = seen[i].is.timeline;
        risen = true;
    }
    return risen;
}

/* The only system among those who answer; 0 if there is none, or more than one. */
static uint64_t only_system(const struct sighting *seen, size_t count, bool *several)
{
    uint64_t system = 0;
    *several = false;
    for (size_t i = 0; i < count; i++) {
        if (!seen[i].answered)
            continue;
        *several = *several || (system && seen[i].is.system != system);
        system = seen[i].is.system;
    }
    return *several ? 0 : system;
}

enum standing election_standing(const struct lineage *lineage, const struct sighting *seen)
{
    if (!seen->answered)
        return STANDING_SILENT;
    if (lineage->system && seen->is.system != lineage->system)
        return STANDING_STRANGER;
    if (!seen->is.primary)
        return STANDING_STANDBY;
    if (seen->is.timeline < lineage->timeline)
        return STANDING_OUTDATED;
    return seen->is.writable ? STANDING_PRIMARY : STANDING_READ_ONLY;
}

/* The first of the primaries that stand, or `current` if it is one of them. */
static enum election choose_among(const struct lineage *lineage, const struct sighting *seen,
                                  size_t count, int current, size_t *winner)
{
    enum election result = ELECTION_NONE;
    for (size_t i = 0; i < count; i++) {
        if (election_standing(lineage, &seen[i]) != STANDING_PRIMARY)
            continue;
        if ((int)i == current) {
            *winner = i;
            return ELECTION_PRIMARY;
        }
        if (result == ELECTION_NONE) {
            *winner = i;
            result = ELECTION_PRIMARY;
        } else if (seen[i].is.started != seen[*winner].is.started) {
            result = ELECTION_TWO; /* unless one of them is the current one */
        }
    }
    return result;
}

enum election election_choose(struct lineage *lineage, const struct sighting *seen, size_t count,
                              int current, size_t *winner)
{
    struct lineage known = *lineage;
    if (!known.system) {
        bool several;
        known.system = only_system(seen, count, &several);
        if (several)
            return ELECTION_STRANGERS;
    }
    election_learn(&known, seen, count);
    enum election result = choose_among(&known, seen, count, current, winner);
    if (result == ELECTION_PRIMARY || lineage->system)
        *lineage = known;
    return result;
}
