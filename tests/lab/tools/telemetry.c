/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Asks a running dataplane over DPDK's telemetry socket (version 2: SOCK_SEQPACKET, one JSON answer
 * per command) and prints what stands under the command's name: telemetry SOCKET
 * /dropgate/verdicts[,PARAMETER]. Scenarios ask again and again until something has happened; an
 * interpreter would take longer to start than all of this. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOM = 1 << 20, TIMEOUT_S = 5 };

static char answer[ROOM];

static void receive(int fd)
{
    ssize_t length = recv(fd, answer, sizeof answer - 1, 0);
    if (length <= 0)
        err(1, "no answer");
    answer[length] = '\0';
}

int main(int argc, char **argv)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[1]) >= sizeof to.sun_path)
        errx(2, "usage: telemetry SOCKET /COMMAND[,PARAMETER]");
    memcpy(to.sun_path, argv[1], strlen(argv[1]));
    const struct timeval limit = {.tv_sec = TIMEOUT_S};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        err(1, "%s", argv[1]);
    receive(fd); /* who is there, before anything is asked */
    if (send(fd, argv[2], strlen(argv[2]), MSG_NOSIGNAL) < 0)
        err(1, "asking");
    receive(fd);
    close(fd);

    /* {"COMMAND":WHAT IS WANTED} */
    size_t name = strcspn(argv[2], ","), length = strlen(answer);
    char begin[256];
    int skip = snprintf(begin, sizeof begin, "{\"%.*s\":", (int)name, argv[2]);
    if (skip >= (int)sizeof begin || strncmp(answer, begin, (size_t)skip) != 0 ||
        answer[length - 1] != '}')
        errx(1, "%s: %s", argv[2], answer);
    printf("%.*s\n", (int)(length - 1 - (size_t)skip), answer + skip);
    return 0;
}
