/*
 * epoll_server: the least program that plays the dialogue, as a floor. It has no log, no
 * time-outs, and no limit except the number of descriptors.
 *
 *   epoll_server PORT        listens on 127.0.0.1
 *
 * (connect) 220 | HELO, EHLO 250 | MAIL 553 | QUIT 221 and close | anything else 500
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    ACCEPT_BATCH = 64,
    EVENT_BATCH = 256,
    CONNECTIONS_MAX = 65536,
    READ_BYTES = 2048,
    LINE_MAX_BYTES = 512, /* RFC 5321 4.5.3.1.4 */
};

static const char GREETING[] = "220 bench.invalid ESMTP\r\n";
static const char HELLO[] = "250 Hello, pleased to meet you.\r\n";
static const char INVALID[] = "553 Sender is Invalid!\r\n";
static const char UNKNOWN[] = "500 Command unrecognized\r\n";
static const char GOODBYE[] = "221 Server Disconnecting\r\n";

/* The line begun and not yet ended, by descriptor; a page that is never touched takes no memory. */
struct pending {
    uint16_t bytes;
    char line[LINE_MAX_BYTES];
};
static struct pending pending[CONNECTIONS_MAX];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Sends a whole reply; 0 where the peer does not take it. */
static int say(int fd, const char *reply, size_t bytes)
{
    return send(fd, reply, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* Answers one command; 0 where the connection is to be closed. */
static int answer(int fd, const char *line)
{
    if (strncasecmp(line, "HELO", 4) == 0 || strncasecmp(line, "EHLO", 4) == 0)
        return say(fd, HELLO, sizeof HELLO - 1);
    if (strncasecmp(line, "MAIL", 4) == 0)
        return say(fd, INVALID, sizeof INVALID - 1);
    if (strncasecmp(line, "QUIT", 4) == 0) {
        say(fd, GOODBYE, sizeof GOODBYE - 1);
        return 0;
    }
    return say(fd, UNKNOWN, sizeof UNKNOWN - 1);
}

/* Keeps what has no line end yet; 0 where it is too long. */
static int keep(struct pending *rest, const char *data, size_t bytes)
{
    if (bytes >= LINE_MAX_BYTES)
        return 0;
    memcpy(rest->line, data, bytes);
    rest->bytes = (uint16_t)bytes;
    return 1;
}

/* Reads once and answers every whole line; 0 where the connection is to be closed. */
static int serve(int fd)
{
    char data[LINE_MAX_BYTES + READ_BYTES];
    struct pending *rest = &pending[fd];
    size_t before = rest->bytes;
    if (before > 0)
        memcpy(data, rest->line, before);
    ssize_t n = recv(fd, data + before, READ_BYTES, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return 0;
    char *line = data, *end = data + before + n, *newline;
    while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        *newline = '\0';
        if (!answer(fd, line))
            return 0;
        line = newline + 1;
    }
    if (line == end && before == 0)
        return 1;
    return keep(rest, line, (size_t)(end - line));
}

static void hang_up(int fd)
{
    if (pending[fd].bytes > 0)
        pending[fd].bytes = 0;
    close(fd);
}

static void take_connections(int listener, int epoll_fd)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= CONNECTIONS_MAX || !say(fd, GREETING, sizeof GREETING - 1) ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
    }
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        die("bind, listen");
    return fd;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: epoll_server PORT\n");
        return 2;
    }
    raise_descriptor_limit();
    int listener = listen_on(atoi(argv[1])), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENT_BATCH], on_listener = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &on_listener) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENT_BATCH, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                take_connections(listener, epoll_fd);
            else if (!serve(fd))
                hang_up(fd);
        }
    }
}
